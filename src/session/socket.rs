//! One socket: a loop over a closed set of events.

use std::sync::Arc;

use foldhash::fast::RandomState;
use futures_util::StreamExt as _;
use hashbrown::HashMap;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    error_code::ErrorCode,
    hub::{ChannelId, outbox::Outbox},
    protocol::{self, Received, Vsn, message::Ref, prepared, system},
    tenants::limits::Seat,
    topic::Topic,
};

use super::{
    Services,
    channel::Channel,
    context::{Context, Credentials, token_due},
    join,
    tasks::{Done, Tasks},
    transport::{Incoming, Transport},
    waiting::Waiting,
    writer::{Sent, Shutdown, Writer},
};

/// A socket of one client.
#[derive(Debug)]
pub struct Socket {
    pub(super) context: Context,
    pub(super) channels: HashMap<Topic, Channel, RandomState>,
    /// Topics that wait for an answer of the database, and what came meanwhile.
    pub(super) waiting: Waiting,
    pub(super) tasks: Tasks,
    writer: Writer,
    pub(super) seat: Option<Seat>,
    last_seen: Instant,
    /// Since when a socket that has tried to join has no channel.
    idle_since: Option<Instant>,
    tokens_due: Option<Instant>,
    disconnects: watch::Receiver<u64>,
    /// The server stops: when this socket closes.
    pub(super) leaves_at: Option<Instant>,
}

/// Everything that makes a socket act.
enum Event {
    Incoming(Incoming),
    Outbox,
    Done(Done),
    Timer,
    Disconnect,
    Drain,
}

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nobody is there to talk to.
    Gone,
    /// The client reads too slowly to be told anything but that.
    Slow,
    /// With a close code and reason.
    Close(u16, &'static str),
}

impl Socket {
    /// A socket that has just been opened.
    pub fn new(services: Arc<Services>, vsn: Vsn, credentials: Credentials) -> Self {
        let outbox = Arc::new(Outbox::new(services.config.outbox_bytes));
        let disconnects = services.tenant.disconnects();
        let waiting = Waiting::new(services.config.waiting_bytes);
        let Credentials { token, headers } = credentials;
        Self {
            context: Context { services, vsn, outbox, token, headers },
            channels: HashMap::default(),
            waiting,
            tasks: Tasks::new(),
            writer: Writer::default(),
            seat: None,
            last_seen: Instant::now(),
            idle_since: None,
            tokens_due: None,
            disconnects,
            leaves_at: None,
        }
    }

    /// Serves the client until it leaves, breaks a rule, or the server stops.
    pub async fn run(mut self, mut transport: impl Transport) {
        let services = Arc::clone(&self.context.services);
        services.metrics.opened();
        let ending = self.serve(&mut transport).await;
        self.leave_all();
        self.context.outbox.close();
        tracing::debug!(?ending, "socket closed");
        match ending {
            Ending::Gone => {}
            Ending::Slow => {
                self.note_slow();
                transport.close(1008, "too slow").await;
            }
            Ending::Close(code, reason) => transport.close(code, reason).await,
        }
        services.metrics.closed();
    }

    async fn serve(&mut self, transport: &mut impl Transport) -> Ending {
        let drain = self.context.services.drain.clone();
        let outbox = Arc::clone(&self.context.outbox);
        let mut alarm = Box::pin(sleep_until(self.next_deadline()));
        loop {
            // What is asked faster than the answers are sent waits in the network.
            let can_answer = outbox.takes_answers();
            let event = tokio::select! {
                incoming = transport.receive(), if can_answer => Event::Incoming(incoming),
                () = outbox.ready() => Event::Outbox,
                Some(done) = self.tasks.next(), if can_answer => Event::Done(done),
                () = &mut alarm => Event::Timer,
                Ok(()) = self.disconnects.changed() => Event::Disconnect,
                () = drain.started(), if self.leaves_at.is_none() => Event::Drain,
            };
            let ended = match event {
                Event::Incoming(incoming) => self.on_incoming(incoming),
                Event::Outbox => self.flush(transport).await,
                Event::Done(done) => self.on_done(done),
                Event::Timer if self.is_to_leave() => {
                    self.complete(transport).await;
                    Some(Ending::Close(1012, "the server is restarting"))
                }
                Event::Timer => self.on_timer(),
                Event::Disconnect => Some(self.on_disconnect()),
                Event::Drain => {
                    self.prepare_to_leave();
                    None
                }
            };
            let overflow = Ending::Close(1008, "too many messages wait");
            let ended = ended.or(self.waiting.has_overflowed().then_some(overflow));
            if let Some(ending) = ended {
                // What was said before the end is still sent; what is said after it is not.
                if matches!(ending, Ending::Close(..)) {
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
        let begun = Instant::now();
        match protocol::decode(self.context.vsn, received) {
            Ok(message) => {
                self.on_message(message);
                self.context.services.metrics.handled(begun.elapsed());
            }
            Err(error) => {
                self.context.services.metrics.error(ErrorCode::MalformedWebSocketMessage);
                tracing::debug!(
                    code = %ErrorCode::MalformedWebSocketMessage, %error,
                    "frame dropped"
                );
            }
        }
    }

    pub(super) fn on_done(&mut self, done: Done) -> Option<Ending> {
        match done {
            Done::Refused { frame, close } => {
                self.context.outbox.push(frame);
                close.map(|code| Ending::Close(code, "disconnected by the server"))
            }
            Done::Subscribed { topic, channel: id, attempt } => {
                self.on_subscribed(&topic, id, attempt);
                None
            }
            Done::Database { topic, channel, result } => {
                self.on_database(&topic, channel, result);
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

    /// All sockets of the tenant are to go; each channel is told so.
    fn on_disconnect(&self) -> Ending {
        let (vsn, null) = (self.context.vsn, Ref::NULL);
        for topic in self.channels.keys() {
            let topic = topic.as_str();
            let frame = prepared::text(vsn, &null, &null, topic, "system", system::DISCONNECT);
            self.context.outbox.push(frame);
        }
        Ending::Close(1012, "the server asks for a new connection")
    }

    fn check_tokens(&mut self, now: Instant) {
        let tenant = Arc::clone(&self.context.services.tenant);
        let mut ended = Vec::new();
        for channel in self.channels.values_mut().filter(|channel| channel.token_due <= now) {
            match tenant.verify(channel.token.expose()) {
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
    pub(super) async fn flush(&mut self, transport: &mut impl Transport) -> Option<Ending> {
        let outbox = Arc::clone(&self.context.outbox);
        let limit = self.context.services.config.write_timeout;
        let Some(requests) = self.writer.take(&outbox) else { return Some(Ending::Slow) };
        for Shutdown { channel, reason } in requests {
            self.shut_down_by_id(channel, &reason);
        }
        self.context.services.metrics.sending(self.writer.size());
        match self.writer.send(transport, &outbox, limit).await {
            Sent::All => None,
            Sent::Slow => Some(Ending::Slow),
            Sent::Gone => Some(Ending::Gone),
        }
    }

    fn note_slow(&self) {
        self.context.services.metrics.slow.inc();
        self.context.services.metrics.error(ErrorCode::SlowClient);
        let tenant = &*self.context.services.tenant.name;
        tracing::warn!(
            code = %ErrorCode::SlowClient, tenant,
            "the client reads too slowly: closing its socket"
        );
    }

    /// Ends one channel and tells its client why; the socket stays.
    pub(super) fn shut_down(&mut self, topic: &str, reason: &str) {
        if let Some(channel) = self.channels.get(topic) {
            let tenant = &*self.context.services.tenant.name;
            tracing::info!(
                code = %ErrorCode::ChannelShutdown, tenant, topic, reason,
                "channel closed"
            );
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

    pub(super) fn drop_channel(&mut self, topic: &str) {
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
    pub(super) fn leave(&self, channel: &Channel) {
        let services = &self.context.services;
        services.hub.leave(&channel.key, &channel.subscriber);
        services.presence.untrack(&channel.key, channel.id);
        services.chat.leave(&channel.key, channel.id);
    }

    /// Brings the timers up to date with the channels there are.
    pub(super) fn note_channels(&mut self) {
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
        [empty, self.tokens_due, self.leaves_at].into_iter().flatten().fold(idle, Instant::min)
    }
}
