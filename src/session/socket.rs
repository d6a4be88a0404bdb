//! One socket: a loop over a closed set of events.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hashbrown::HashMap;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    auth::Claims,
    authorization::{AuthorizeError, Caller, Rights},
    error_code::ErrorCode,
    hub::{ChannelId, outbox::Outbox},
    protocol::{
        self, Received, Vsn,
        message::{Inbound, Payload, Ref},
        prepared::Frame,
        reply,
    },
    runtime::clock,
    tenants::limits::Seat,
    topic::{self, Topic},
};

use super::{
    Services,
    channel::{Channel, Step},
    handlers::{self, postgres_changes::Attempt},
    join::{self, Candidate, Refused, Request},
    transport::{Incoming, Transport},
    writer::{Sent, Shutdown, Writer},
};

/// A token is verified again at least this often.
const TOKEN_CHECK: Duration = Duration::from_secs(300);

/// Refused joins whose answer is held back; more are answered at once.
const MAX_HELD_BACK: usize = 100;

/// Messages for one topic that may wait for an answer of the database; more are dropped.
const MAX_WAITING: usize = 100;

/// Who opened a socket.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The token of the upgrade.
    pub token: Arc<str>,
    /// Its claims.
    pub claims: Claims,
    /// The upgrade's `x-*` headers as a JSON object, for policies.
    pub headers: Arc<str>,
}

/// What every handler needs to know about its socket.
#[derive(Debug)]
pub struct Context {
    /// What it works with.
    pub services: Arc<Services>,
    /// Its serializer.
    pub vsn: Vsn,
    /// Where its frames go.
    pub outbox: Arc<Outbox>,
    /// The token of the upgrade.
    pub token: Arc<str>,
    /// Its claims.
    pub claims: Claims,
    /// Its headers.
    pub headers: Arc<str>,
}

impl Context {
    /// Whom the policies of a topic are asked about: the bearer of these claims.
    pub fn caller(&self, topic: &Topic, claims: &Claims) -> Caller {
        Caller {
            topic: topic.sub_topic().into(),
            claims: claims.clone(),
            headers: Arc::clone(&self.headers),
        }
    }
}

/// Slow work of a socket; each future ends as an event of its loop.
pub type Tasks = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

/// Slow work that is done.
#[derive(Debug)]
pub enum Done {
    /// A refused join may be told so, and the socket closed.
    Refused {
        /// The answer.
        frame: Frame,
        /// Close with this code afterwards.
        close: Option<u16>,
    },
    /// An attempt to subscribe to changes has ended.
    Subscribed {
        /// The topic of the channel.
        topic: Topic,
        /// The channel; it may be gone.
        channel: ChannelId,
        /// The outcome.
        attempt: Attempt,
    },
    /// The policies of a private topic have answered.
    Answered {
        /// The topic, whose messages wait for this.
        topic: Topic,
        /// What was asked and the answer.
        answer: Answer,
    },
}

/// An answer of the policies and what it is for.
#[derive(Debug)]
pub enum Answer {
    /// Whether a join may go on.
    Join(Box<Candidate>, Permitted),
    /// What a channel may send.
    Write(ChannelId, Permitted),
    /// What a channel may receive with a new token.
    Read(ChannelId, (Arc<str>, Claims), Permitted),
}

type Permitted = Result<Rights, AuthorizeError>;

/// A socket of one client.
#[derive(Debug)]
pub struct Socket {
    context: Context,
    channels: HashMap<Topic, Channel, RandomState>,
    /// Topics that wait for an answer of the policies, and what came meanwhile.
    waiting: HashMap<Topic, VecDeque<Inbound>, RandomState>,
    tasks: Tasks,
    writer: Writer,
    seat: Option<Seat>,
    last_seen: Instant,
    /// Since when a socket that has tried to join has no channel.
    idle_since: Option<Instant>,
    tokens_due: Option<Instant>,
}

/// Everything that makes a socket act.
enum Event {
    Incoming(Incoming),
    Outbox,
    Done(Done),
    Timer,
    Drain,
}

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody is there to talk to.
    Gone,
    /// With a close code and reason.
    Close(u16, &'static str),
}

impl Socket {
    /// A socket that has just been opened.
    pub fn new(services: Arc<Services>, vsn: Vsn, credentials: Credentials) -> Self {
        let outbox = Arc::new(Outbox::new(services.config.outbox_bytes));
        let Credentials { token, claims, headers } = credentials;
        Self {
            context: Context { services, vsn, outbox, token, claims, headers },
            channels: HashMap::default(),
            waiting: HashMap::default(),
            tasks: Tasks::new(),
            writer: Writer::default(),
            seat: None,
            last_seen: Instant::now(),
            idle_since: None,
            tokens_due: None,
        }
    }

    /// Serves the client until it leaves, breaks a rule, or the server stops.
    pub async fn run(mut self, mut transport: impl Transport) {
        let services = Arc::clone(&self.context.services);
        services.metrics.connections.inc();
        let ending = self.serve(&mut transport).await;
        self.leave_all();
        self.context.outbox.close();
        tracing::debug!(?ending, "socket closed");
        if let Ending::Close(code, reason) = ending {
            transport.close(code, reason).await;
        }
        services.metrics.connections.dec();
    }

    async fn serve(&mut self, transport: &mut impl Transport) -> Ending {
        let drain = self.context.services.drain.clone();
        let outbox = Arc::clone(&self.context.outbox);
        let mut alarm = Box::pin(sleep_until(self.next_deadline()));
        loop {
            let event = tokio::select! {
                incoming = transport.receive() => Event::Incoming(incoming),
                () = outbox.ready() => Event::Outbox,
                Some(done) = self.tasks.next() => Event::Done(done),
                () = &mut alarm => Event::Timer,
                () = drain.started() => Event::Drain,
            };
            let ended = match event {
                Event::Incoming(incoming) => self.on_incoming(incoming),
                Event::Outbox => self.flush(transport).await,
                Event::Done(done) => self.on_done(done),
                Event::Timer => self.on_timer(),
                Event::Drain => Some(Ending::Close(1012, "the server is restarting")),
            };
            if let Some(ending) = ended {
                // What was said before the end is still sent; what is said after it is not.
                if !matches!(ending, Ending::Gone) {
                    self.flush(transport).await;
                }
                return ending;
            }
            let deadline = self.next_deadline();
            if deadline < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(deadline);
            }
        }
    }

    fn on_incoming(&mut self, incoming: Incoming) -> Option<Ending> {
        self.last_seen = Instant::now();
        match incoming {
            Incoming::Message(received) => {
                self.on_received(&received);
                None
            }
            Incoming::Alive => None,
            Incoming::Violation(code) => Some(Ending::Close(code, "protocol violation")),
            Incoming::Gone => Some(Ending::Gone),
        }
    }

    fn on_received(&mut self, received: &Received) {
        let size = match received {
            Received::Text(bytes) | Received::Binary(bytes) => bytes.len(),
        };
        self.context.services.metrics.input_bytes.inc_by(size as u64);
        match protocol::decode(self.context.vsn, received) {
            Ok(message) => self.on_message(message),
            Err(error) => {
                self.context.services.metrics.error(ErrorCode::MalformedWebSocketMessage);
                tracing::debug!(code = %ErrorCode::MalformedWebSocketMessage, %error, "frame dropped");
            }
        }
    }

    fn on_message(&mut self, message: Inbound) {
        if message.topic == topic::PHOENIX && message.event == "heartbeat" {
            let (vsn, null) = (self.context.vsn, Ref::NULL);
            let frame = reply::ok(vsn, &null, &message.reference, topic::PHOENIX, "{}");
            self.context.outbox.push(frame);
            return;
        }
        // What follows a question about a topic is answered after it, in order.
        if let Some(queue) = self.waiting.get_mut(message.topic.as_str()) {
            if queue.len() < MAX_WAITING {
                queue.push_back(message);
            }
            return;
        }
        match message.event.as_str() {
            "phx_join" if message.topic.starts_with(topic::PREFIX) => self.on_join(message),
            "phx_leave" => self.on_leave(&message),
            _ => self.on_channel_message(message),
        }
    }

    fn on_join(&mut self, message: Inbound) {
        let replaced = self.channels.remove(message.topic.as_str());
        let closing = replaced.map(|channel| {
            self.leave(&channel);
            channel.closed(self.context.vsn)
        });
        let Inbound { topic, join_ref, reference, payload, .. } = message;
        let request = Request { topic, join_ref, reference, closing };
        let seated = self.seat.is_some();
        let joining = self.waiting.keys().filter(|topic| !self.channels.contains_key(*topic));
        let joined = self.channels.len() + joining.count();
        match join::evaluate(&self.context, request, &payload, joined, seated) {
            Ok(candidate) => match candidate.caller(&self.context) {
                None => self.admit(candidate, Ok(Rights { broadcast: true, presence: true })),
                Some((topic, caller)) => {
                    let authorizer = self.context.services.authorizer.clone();
                    self.ask(topic, VecDeque::new(), async move {
                        let read = authorizer.read(caller).await;
                        Answer::Join(Box::new(candidate), read)
                    });
                }
            },
            Err(refused) => self.refuse(*refused),
        }
        self.note_channels();
    }

    fn admit(&mut self, candidate: Candidate, read: Permitted) {
        match candidate.admit(&self.context, read) {
            Ok(mut admitted) => {
                self.seat = self.seat.take().or(admitted.take_seat());
                let channel = admitted.enter(&self.context, &mut self.tasks);
                self.channels.insert(channel.key.topic.clone(), channel);
            }
            Err(refused) => self.refuse(*refused),
        }
    }

    /// Tells a refused join so, after a pause that keeps eager clients off.
    /// Other topics do not wait.
    fn refuse(&mut self, refused: Refused) {
        let Refused { request, refusal } = refused;
        if let Some(frame) = request.closing {
            self.context.outbox.push(frame);
        }
        self.context.services.metrics.error(refusal.code);
        tracing::info!(code = %refusal.code, topic = request.topic, "join refused");
        let reason = refusal.to_string();
        let (join_ref, reference) = (&request.join_ref, &request.reference);
        let frame = reply::refused(self.context.vsn, join_ref, reference, &request.topic, &reason);
        let close = refusal.close;
        let pause = match self.tasks.len() < MAX_HELD_BACK {
            true => self.context.services.config.channel_error_backoff,
            false => Duration::ZERO,
        };
        self.tasks.push(Box::pin(async move {
            sleep(pause).await;
            Done::Refused { frame, close }
        }));
    }

    /// Asks the policies; messages for the topic wait behind `queue` until they answer.
    fn ask(
        &mut self,
        topic: Topic,
        queue: VecDeque<Inbound>,
        question: impl Future<Output = Answer> + Send + 'static,
    ) {
        self.waiting.insert(topic.clone(), queue);
        self.tasks.push(Box::pin(async move {
            let answer = question.await;
            Done::Answered { topic, answer }
        }));
    }

    fn on_answer(&mut self, topic: &Topic, answer: Answer) {
        let mut queue = self.waiting.remove(topic).unwrap_or_default();
        match answer {
            Answer::Join(candidate, read) => self.admit(*candidate, read),
            Answer::Write(id, write) => {
                if let Some(channel) = self.channels.get_mut(topic).filter(|c| c.id == id) {
                    // Without an answer this message may not be sent; the next one asks again.
                    let again = matches!(&write, Err(error) if error.is_transient());
                    channel.permissions.write = Some(write.unwrap_or_default());
                    if let Some(message) = queue.pop_front() {
                        self.on_message(message);
                    }
                    if again && let Some(channel) = self.channels.get_mut(topic) {
                        channel.permissions.write = None;
                    }
                }
            }
            Answer::Read(id, token, read) => {
                if let Some(channel) = self.channels.get_mut(topic).filter(|c| c.id == id) {
                    let tasks = &mut self.tasks;
                    let step =
                        handlers::access_token::permit(&self.context, channel, tasks, token, read);
                    self.take_step(topic.as_str(), step, None);
                }
            }
        }
        for message in queue {
            self.on_message(message);
        }
        self.note_channels();
    }

    fn on_leave(&mut self, message: &Inbound) {
        let vsn = self.context.vsn;
        let Some(channel) = self.channels.get(message.topic.as_str()) else {
            // Leaving what is not joined succeeds.
            let (join_ref, reference) = (&message.join_ref, &message.reference);
            let frame = reply::ok(vsn, join_ref, reference, &message.topic, "{}");
            self.context.outbox.push(frame);
            return;
        };
        // A leave for an older instance of the topic must not end this one.
        if !channel.join_ref.is_null() && channel.join_ref != message.join_ref {
            return;
        }
        self.context.outbox.push(channel.ok(vsn, &message.reference));
        self.context.outbox.push(channel.closed(vsn));
        self.drop_channel(&message.topic);
    }

    fn on_channel_message(&mut self, message: Inbound) {
        let context = &self.context;
        let Some(channel) = self.channels.get_mut(message.topic.as_str()) else {
            let (null, reference) = (Ref::NULL, &message.reference);
            let reason = "unmatched topic";
            let frame = reply::refused(context.vsn, &null, reference, &message.topic, reason);
            context.outbox.push(frame);
            return;
        };
        let reference = &message.reference;
        let step = match (message.event.as_str(), &message.payload) {
            ("broadcast", payload) => {
                handlers::broadcast::handle(context, channel, reference, payload)
            }
            ("presence", Payload::Json(json)) => {
                handlers::presence::handle(context, channel, reference, json)
            }
            ("access_token", Payload::Json(json)) => {
                handlers::access_token::handle(context, channel, &mut self.tasks, json)
            }
            _ => {
                context.services.tenant.meters.events.record(1);
                Step::Stay
            }
        };
        let topic = message.topic.clone();
        self.take_step(&topic, step, Some(message));
    }

    /// Does what a handler decided; `message` is what it was handling.
    fn take_step(&mut self, topic: &str, step: Step, message: Option<Inbound>) {
        match step {
            Step::Stay => {}
            Step::Shutdown(reason) => self.shut_down(topic, &reason),
            Step::AskWrite => {
                let Some(channel) = self.channels.get(topic) else { return };
                let (id, name) = (channel.id, channel.key.topic.clone());
                let caller = self.context.caller(&name, &channel.claims);
                let authorizer = self.context.services.authorizer.clone();
                self.ask(name, message.into_iter().collect(), async move {
                    Answer::Write(id, authorizer.write(caller).await)
                });
            }
            Step::AskRead { token, claims } => {
                let Some(channel) = self.channels.get(topic) else { return };
                let (id, name) = (channel.id, channel.key.topic.clone());
                let caller = self.context.caller(&name, &claims);
                let authorizer = self.context.services.authorizer.clone();
                self.ask(name, VecDeque::new(), async move {
                    Answer::Read(id, (token, claims), authorizer.read(caller).await)
                });
            }
        }
        self.note_channels();
    }

    fn on_done(&mut self, done: Done) -> Option<Ending> {
        match done {
            Done::Refused { frame, close } => {
                self.context.outbox.push(frame);
                close.map(|code| Ending::Close(code, "disconnected by the server"))
            }
            Done::Subscribed { topic, channel: id, attempt } => {
                // The channel may have closed or been replaced meanwhile.
                let channel = self.channels.get_mut(&topic).filter(|channel| channel.id == id);
                if let Some(channel) = channel {
                    let tasks = &mut self.tasks;
                    handlers::postgres_changes::finish(&self.context, channel, tasks, attempt);
                }
                None
            }
            Done::Answered { topic, answer } => {
                self.on_answer(&topic, answer);
                None
            }
        }
    }

    fn on_timer(&mut self) -> Option<Ending> {
        let now = Instant::now();
        let config = &self.context.services.config;
        if now >= self.last_seen + config.idle_timeout {
            return Some(Ending::Close(1000, "no heartbeat"));
        }
        if self.idle_since.is_some_and(|since| now >= since + config.no_channel_timeout) {
            return Some(Ending::Close(1000, "no channel"));
        }
        if self.tokens_due.is_some_and(|due| now >= due) {
            self.check_tokens(now);
        }
        None
    }

    fn check_tokens(&mut self, now: Instant) {
        let tenant = Arc::clone(&self.context.services.tenant);
        let mut ended = Vec::new();
        for channel in self.channels.values_mut().filter(|channel| channel.token_due <= now) {
            match tenant.verify(&channel.token) {
                Ok(claims) => channel.token_due = token_due(&claims),
                Err(error) => ended.push((channel.key.topic.clone(), error)),
            }
        }
        for (topic, error) in ended {
            self.shut_down(topic.as_str(), &super::token::channel_text(&error));
        }
        self.note_channels();
    }

    /// Sends what is queued and meets the requests among it. What these say to
    /// the client goes out with the next batch.
    async fn flush(&mut self, transport: &mut impl Transport) -> Option<Ending> {
        let outbox = Arc::clone(&self.context.outbox);
        let limit = self.context.services.config.write_timeout;
        let Some(requests) = self.writer.take(&outbox) else { return Some(self.slow()) };
        for Shutdown { channel, reason } in requests {
            self.shut_down_by_id(channel, reason);
        }
        self.context.services.metrics.output_bytes.inc_by(self.writer.size());
        match self.writer.send(transport, &outbox, limit).await {
            Sent::All => None,
            Sent::Slow => Some(self.slow()),
            Sent::Gone => Some(Ending::Gone),
        }
    }

    fn slow(&self) -> Ending {
        self.context.services.metrics.slow.inc();
        self.context.services.metrics.error(ErrorCode::SlowClient);
        tracing::warn!(code = %ErrorCode::SlowClient, "the client reads too slowly: closing its socket");
        Ending::Close(1008, "too slow")
    }

    /// Ends one channel and tells its client why; the socket stays.
    fn shut_down(&mut self, topic: &str, reason: &str) {
        if let Some(channel) = self.channels.get(topic) {
            tracing::info!(code = %ErrorCode::ChannelShutdown, topic, reason, "channel closed");
            self.context.services.metrics.error(ErrorCode::ChannelShutdown);
            join::farewell(&self.context, channel, reason);
            self.context.outbox.push(channel.closed(self.context.vsn));
            self.drop_channel(topic);
        }
    }

    fn shut_down_by_id(&mut self, id: ChannelId, reason: &str) {
        let found = self.channels.values().find(|channel| channel.id == id);
        if let Some(topic) = found.map(|channel| channel.key.topic.clone()) {
            self.shut_down(topic.as_str(), reason);
        }
    }

    fn drop_channel(&mut self, topic: &str) {
        if let Some(channel) = self.channels.remove(topic) {
            self.leave(&channel);
        }
        self.note_channels();
    }

    fn leave_all(&mut self) {
        for channel in std::mem::take(&mut self.channels).values() {
            self.leave(channel);
        }
    }

    /// Takes a channel out of everything that could send to it.
    fn leave(&self, channel: &Channel) {
        let services = &self.context.services;
        services.hub.leave(&channel.key, &channel.subscriber);
        services.presence.untrack(&channel.key, channel.id);
    }

    /// Brings the timers up to date with the channels there are.
    fn note_channels(&mut self) {
        self.tokens_due = self.channels.values().map(|channel| channel.token_due).min();
        self.idle_since = match self.channels.is_empty() {
            true => self.idle_since.or_else(|| Some(Instant::now())),
            false => None,
        };
    }

    fn next_deadline(&self) -> Instant {
        let config = &self.context.services.config;
        let idle = self.last_seen + config.idle_timeout;
        let empty = self.idle_since.map(|since| since + config.no_channel_timeout);
        [empty, self.tokens_due].into_iter().flatten().fold(idle, Instant::min)
    }
}

/// When a token with these claims is to be looked at again.
pub fn token_due(claims: &Claims) -> Instant {
    let now = clock::unix_time();
    let expires = Duration::from_secs(u64::try_from(claims.expires_at()).unwrap_or(0));
    Instant::now() + expires.saturating_sub(now).min(TOKEN_CHECK)
}
