//! `rowcast tail`: the changes of a table in a terminal, as a user sees them.
//!
//! It is a client like any other: it connects to a running server, with a key
//! for the role that is asked for, and prints what comes.

mod line;

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use url::Url;

use super::{
    Failure, screen, signals,
    socket::{self, Message, Socket, SocketError},
    token::{self, Expiry, mint},
};
use crate::{
    config::{Overrides, Resolved, env::Env},
    runtime::{backoff::Backoff, clock},
    secret::Secret,
    telemetry,
};

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The table, with its schema if that is not public; * for all
    table: String,
    /// Rows to be told of only, such as id=gt.7; all must hold
    #[arg(long, value_name = "COLUMN=OP.VALUE")]
    filter: Vec<String>,
    /// What may happen to a row
    #[arg(long, default_value = "*", value_parser = ["*", "insert", "update", "delete"], ignore_case = true)]
    event: String,
    /// See what this role may see [service_role, or authenticated with --sub]
    #[arg(long, value_name = "ROLE")]
    as_role: Option<String>,
    /// The user's id
    #[arg(long, value_name = "UUID")]
    sub: Option<String>,
    /// A key to use rather than one made with the server's secret
    #[arg(long, value_name = "JWT", conflicts_with_all = ["as_role", "sub"])]
    token: Option<String>,
    /// The server [the local one, on PORT]
    #[arg(long)]
    url: Option<String>,
    /// Print each change as the server sends it, one JSON object a line
    #[arg(long)]
    json: bool,
    /// End after so many changes
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Any name does: public channels of one name share nothing but broadcasts.
const TOPIC: &str = "realtime:rowcast-tail";

/// More often than servers and proxies lose patience.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A key is made anew long before it ends.
const KEY_LIFE: Duration = Duration::from_secs(600);

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let stop = signals::first();
    let mut tail = Tail::new(args)?;
    tokio::select! {
        done = Box::pin(tail.run()) => done,
        () = stop => Ok(()),
    }
}

/// Where the key comes from.
#[derive(Debug)]
enum Key {
    /// It was given.
    Given(Secret),
    /// It is made when it is needed.
    Made { secret: Secret, role: String, sub: Option<String> },
}

/// Why there are no more changes from a socket.
enum End {
    /// As many as were wanted have come.
    Enough,
    /// Trying again makes no sense.
    Refused(Failure),
    /// The socket is gone.
    Lost(String),
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> Self {
        Self::Lost(telemetry::reason(&error))
    }
}

struct Tail {
    url: Url,
    /// What the server is called, if not by its address.
    host: Option<String>,
    key: Key,
    /// Of the join.
    binding: Value,
    json: bool,
    /// Changes that are still wanted.
    wanted: Option<u64>,
}

impl Tail {
    fn new(args: Args) -> Result<Self, Failure> {
        let resolved = Resolved::read(&Env, &Overrides::default())?;
        let mut host = None;
        let mut server = args.url.clone().unwrap_or_default();
        if args.url.is_none() {
            server = format!("http://127.0.0.1:{}", resolved.value("PORT").unwrap_or_default());
            host = resolved.value("SELF_HOST_TENANT_NAME").map(str::to_owned);
        }
        let url = socket::address(&server).map_err(|error| wrong_url(&error))?;
        let binding = binding(&args);
        let key = Key::of(args.token, args.as_role, args.sub)?;
        Ok(Self { url, host, key, binding, json: args.json, wanted: args.count })
    }

    /// Prints changes until there were enough. Who was connected once connects again.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        let mut socket = Some(self.connect().await?);
        loop {
            let end = match socket.take() {
                Some(open) => self.watch(open, &mut backoff).await,
                None => match self.connect().await {
                    Ok(open) => {
                        screen::progress("connected again: what changed meanwhile is not told");
                        socket = Some(open);
                        continue;
                    }
                    Err(failure) => End::Lost(failure.to_string()),
                },
            };
            match end {
                End::Enough => return Ok(()),
                End::Refused(failure) => return Err(failure),
                End::Lost(why) => screen::progress(format!("{why}; trying again")),
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn connect(&self) -> Result<Socket, Failure> {
        let opened = Socket::open(&self.url, self.host.as_deref(), &self.key.token()?).await;
        opened.map_err(|error| {
            let next = match &error {
                SocketError::Refused { status: 401 | 500, .. } => {
                    "set API_JWT_SECRET as the server has it, or pass a key with --token."
                }
                SocketError::Refused { .. } => "mend what the server says and try again.",
                _ => "start rowcast serve or rowcast dev, or name the server with --url.",
            };
            Failure::new(format!("No socket: {}.", telemetry::reason(&error)), next)
        })
    }

    /// Subscribes and prints until the socket ends.
    async fn watch(&mut self, socket: Socket, backoff: &mut Backoff) -> End {
        match self.subscribed(socket, backoff).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn subscribed(&mut self, mut socket: Socket, backoff: &mut Backoff) -> Result<End, End> {
        let token = self.key.token().map_err(End::Refused)?;
        let changes = json!({
            "postgres_changes": [self.binding], "postgres_changes_options": { "wait": true },
        });
        let join = json!({ "config": changes, "access_token": token.expose() });
        if let Err(reason) = socket.join(TOPIC, join).await? {
            // These two pass by themselves.
            if ["RealtimeRestarting", "PostgresChangesSubscribeTimeout"]
                .iter()
                .any(|code| reason.starts_with(code))
            {
                return Ok(End::Lost(format!("the server does not subscribe us: {reason}")));
            }
            let next = "check the table, the filter, and that the table is published: rowcast doctor tells.";
            return Ok(End::Refused(Failure::new(format!("The server refuses: {reason}."), next)));
        }
        backoff.reset();
        let mut pulse = interval(HEARTBEAT);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                _ = pulse.tick() => {
                    socket.heartbeat().await?;
                    if renewed.elapsed() > KEY_LIFE / 2 {
                        renewed = Instant::now();
                        let token = self.key.token().map_err(End::Refused)?;
                        let payload = json!({ "access_token": token.expose() });
                        socket.push(TOPIC, "access_token", payload).await?;
                    }
                }
                message = socket.next() => {
                    if let Some(end) = self.take(&message?) {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Prints what a message says.
    fn take(&mut self, message: &Message) -> Option<End> {
        if message.topic != TOPIC {
            return None;
        }
        match &*message.event {
            "postgres_changes" => {
                let change = message.payload.get("data").unwrap_or(&Value::Null);
                screen::line(if self.json { change.to_string() } else { line::of(change) });
                let left = self.wanted.as_mut()?;
                *left = left.saturating_sub(1);
                (*left == 0).then_some(End::Enough)
            }
            "system" => {
                let text = |name| message.payload.get(name).and_then(Value::as_str);
                let said = text("message").unwrap_or_default();
                match text("status") {
                    Some("ok") => screen::progress(format!("server: {said}")),
                    _ => screen::progress(format!("server, an error: {said}")),
                }
                None
            }
            "phx_error" | "phx_close" => {
                Some(End::Lost("the server closed the channel".to_owned()))
            }
            _ => None,
        }
    }
}

impl Key {
    fn of(
        token: Option<String>,
        role: Option<String>,
        sub: Option<String>,
    ) -> Result<Self, Failure> {
        if let Some(token) = token {
            return Ok(Self::Given(Secret::new(token)));
        }
        let usual = if sub.is_some() { "authenticated" } else { "service_role" };
        let role = role.unwrap_or_else(|| usual.to_owned());
        Ok(Self::Made { secret: token::configured()?, role, sub })
    }

    fn token(&self) -> Result<Secret, Failure> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::Made { secret, role, sub } => {
                let sub = sub.iter().map(|sub| ("sub".to_owned(), sub.as_str().into()));
                let claims: Map<String, Value> = sub.collect();
                let now = clock::unix_time().as_secs();
                mint(secret, role, now, Expiry::In(KEY_LIFE.as_secs()), claims).map(Secret::new)
            }
        }
    }
}

/// What is asked for, as a client writes it.
fn binding(args: &Args) -> Value {
    let (schema, table) = match args.table.split_once('.') {
        Some(parts) => parts,
        None if args.table == "*" => ("*", "*"),
        None => ("public", &*args.table),
    };
    let mut binding = json!({
        "event": args.event.to_ascii_uppercase(), "schema": schema, "table": table,
    });
    if !args.filter.is_empty()
        && let Some(parts) = binding.as_object_mut()
    {
        parts.insert("filter".to_owned(), args.filter.join(",").into());
    }
    binding
}

fn wrong_url(error: &SocketError) -> Failure {
    Failure::new(format!("{error}."), "name it like http://host:4000 or https://project.example.")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Value {
        binding(&Line::parse_from(["tail"].iter().chain(words)).args)
    }

    #[test]
    fn a_binding_is_as_clients_write_it() {
        let plain = json!({ "event": "*", "schema": "public", "table": "todos" });
        assert_eq!(parse(&["todos"]), plain);
        let words =
            ["shop.orders", "--event", "Insert", "--filter", "id=gt.7", "--filter", "a=eq.1"];
        let wanted = json!({ "event": "INSERT", "schema": "shop", "table": "orders",
            "filter": "id=gt.7,a=eq.1" });
        assert_eq!(parse(&words), wanted);
        assert_eq!(parse(&["*"])["schema"], "*");
    }
}
