//! The bus between processes: Redis or Valkey, version 6 or newer (RESP3).
//!
//! A topic is a channel of its pub/sub, in a Redis Cluster a sharded one. One
//! connection sends and one listens, see [`link`]; messages are sent in
//! pipelines, and both connections are pinged, so that a server that hangs is
//! noticed like one that is gone. A message is sent once: if its connection
//! breaks, it may be lost, and is not sent again, for that might double it.
//! What does not come in or go out in time is dropped and counted.
//!
//! Whoever may publish on that server may speak on every topic: keep it private.

mod link;
mod links;
mod log;
mod look;
mod moves;
mod servers;
mod slots;
mod tls;
mod url;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{RedisError, RedisResult, Value};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    error_code::ErrorCode,
    runtime::{Drain, backoff::Backoff},
    telemetry::reason,
    topic::Key,
};

use self::{link::Link, links::Links, servers::Servers};
pub use self::{
    log::Log,
    look::{Look, LookError, look},
    tls::Tls,
};
use super::{
    Bus, Envelope, Handler, Interest, Metrics, NodeId, Refused, envelope, interest::Times,
    queue::Queue,
};

/// How the server is reached, and bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Between nodes of different clusters on one server.
    pub prefix: String,
    /// Bytes that may wait to be sent, and as many that came in.
    pub queue_bytes: usize,
    /// Until an answer of the server is overdue.
    pub timeout: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// Longest pause between two attempts to connect.
    pub longest_pause: Duration,
    /// Of the interest in topics.
    pub times: Times,
    /// Certificates.
    pub tls: Tls,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefix: "rowcast".to_owned(),
            queue_bytes: 16 * 1024 * 1024,
            timeout: Duration::from_secs(2),
            ping: Duration::from_secs(1),
            longest_pause: Duration::from_secs(2),
            times: Times::default(),
            tls: Tls::default(),
        }
    }
}

/// What leads to no server. The URL may hold a password and is not shown.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A URL that is wrong as a whole.
    #[error("the URL of Redis cannot be used: {0}")]
    Url(&'static str),
    /// A host of the URL, or its login or database.
    #[error("the URL of Redis cannot be used")]
    Host(#[source] RedisError),
    /// A file that cannot be read, or holds something else.
    #[error("the certificates for Redis cannot be used")]
    Certificates(#[source] RedisError),
}

/// One node's bus.
#[derive(Debug)]
pub struct Redis {
    servers: Arc<Servers>,
    /// What the names of all channels start with.
    prefix: String,
    node: NodeId,
    interest: Interest,
    outgoing: Queue<Outgoing>,
    incoming: Arc<Queue<Bytes>>,
    config: Config,
    metrics: Metrics,
}

/// A message that waits to be sent.
#[derive(Debug)]
struct Outgoing {
    channel: String,
    bytes: Vec<u8>,
    /// Wants to know to how many other nodes it went.
    others: Option<oneshot::Sender<usize>>,
}

/// Most messages of one pipeline.
const BATCH: usize = 512;

/// A pipeline takes no further message once it has so many bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// Most topics of one command.
const TOPICS: usize = 1000;

/// How long a shutdown waits for what is to be sent yet.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Redis {
    /// A bus through the server at `url`: `redis://`, `rediss://` for TLS, or
    /// `valkey://` and `valkeys://`, each with user, password and number of the
    /// database; or `redis-sentinel://` and so on, with the hosts of sentinels
    /// and `?master=NAME`; or `redis-cluster://` and so on, with some hosts of a
    /// Redis Cluster. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`Unusable`].
    pub fn new(url: &str, config: Config, metrics: Metrics) -> Result<Arc<Self>, Unusable> {
        let servers = Servers::new(url, config.tls.clone(), config.timeout)?;
        // Channels know no databases: their names have to tell them apart.
        let prefix = format!("{}:{}:", config.prefix, servers.database());
        Ok(Arc::new(Self {
            servers: Arc::new(servers),
            prefix,
            node: NodeId::random(),
            interest: Interest::new(config.times),
            outgoing: Queue::new(config.queue_bytes),
            incoming: Arc::new(Queue::new(config.queue_bytes)),
            config,
            metrics,
        }))
    }

    /// A log on the same server, with connections of its own.
    pub fn log(&self, name: &str) -> Log {
        Log::new(Arc::clone(&self.servers), &self.prefix, name, self.node)
    }

    /// Connects, and stays connected until the drain begins.
    pub fn start(self: &Arc<Self>, handler: Arc<dyn Handler>, drain: &Drain) {
        let (bus, signal) = (Arc::clone(self), drain.clone());
        drain.spawn("bus", async move {
            tokio::select! {
                () = Box::pin(bus.link()) => {}
                () = bus.last_words(&signal) => {}
            }
            bus.went_down();
        });
        // A task of its own: a crowded topic must not delay the pings.
        let (bus, signal) = (Arc::clone(self), drain.clone());
        drain.spawn("bus messages", async move {
            tokio::select! {
                () = bus.receive(&*handler) => {}
                () = signal.started() => {}
            }
        });
    }

    async fn last_words(&self, drain: &Drain) {
        drain.started().await;
        let until = Instant::now() + LAST_WORDS;
        while !self.outgoing.is_empty() && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn link(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), self.config.longest_pause);
        let mut was_told = false;
        for number in 1.. {
            let error = match self.connect().await {
                Ok(link) => {
                    tracing::info!("the bus between nodes is up");
                    was_told = false;
                    backoff.reset();
                    self.serve(link, number).await
                }
                Err(error) => error,
            };
            // Once for each time it goes away, or the log would have nothing else.
            if !std::mem::replace(&mut was_told, true) {
                tracing::warn!(
                    code = %ErrorCode::RealtimeNodeDisconnected, error = reason(&error),
                    "the bus between nodes is away"
                );
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn connect(&self) -> RedisResult<Link> {
        let (node, incoming, metrics) =
            (self.node, Arc::clone(&self.incoming), self.metrics.clone());
        let hear = move |bytes: Bytes| {
            if envelope::sender(&bytes) != Some(node) && !incoming.push(bytes.len(), bytes) {
                metrics.dropped("slow", 1);
            }
        };
        Link::open(&self.servers, hear).await
    }

    /// Works until a connection fails.
    async fn serve(&self, link: Link, number: u32) -> RedisError {
        // Put there by somebody who saw the bus up a moment before it was not.
        self.metrics.dropped("away", self.outgoing.clear());
        self.interest.came_up();
        self.metrics.up.set(1);
        let error = tokio::select! {
            error = link.watch(&self.servers, self.config.ping) => error,
            error = self.send(&link, number) => error,
            error = self.subscribe(&link) => error,
            error = self.heed(&link) => error,
        };
        self.servers.have_changed();
        self.went_down();
        error
    }

    /// Nothing is taken any more, and what waits is not sent.
    fn went_down(&self) {
        self.interest.went_down();
        self.metrics.dropped("away", self.outgoing.clear());
        self.metrics.up.set(0);
        self.metrics.topics.set(0);
    }

    async fn send(&self, link: &Link, number: u32) -> RedisError {
        loop {
            let mut batch = self.outgoing.take(BATCH, BATCH_BYTES).await;
            for message in &mut batch {
                envelope::stamp(&mut message.bytes, number);
            }
            let messages: Vec<_> =
                batch.iter().map(|message| (&*message.channel, &*message.bytes)).collect();
            let mut flight = Flight { messages: batch.len(), metrics: &self.metrics };
            match link.publish(&messages).await {
                Ok(answers) => {
                    flight.messages = 0;
                    self.count(&answers);
                    for (message, answer) in batch.into_iter().zip(answers) {
                        if let (Some(others), Ok(Value::Int(all))) = (message.others, answer) {
                            // Whoever asks is interested in the answers.
                            let _ = others.send(usize::try_from(all - 1).unwrap_or_default());
                        }
                    }
                }
                Err(error) => return error,
            }
        }
    }

    fn count(&self, answers: &[RedisResult<Value>]) {
        let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        self.metrics.sent.inc_by((answers.len() - refused.len()) as u64);
        if let Some(error) = refused.first() {
            self.metrics.dropped("refused", refused.len());
            tracing::warn!(
                code = %ErrorCode::RealtimeNodeDisconnected, error = reason(error),
                "the bus refuses messages"
            );
        }
    }

    async fn subscribe(&self, link: &Link) -> RedisError {
        loop {
            let batch = self.interest.next(TOPICS).await;
            if let Err(error) = link.subscribe(&self.channels(&batch.subscribe)).await {
                return error;
            }
            self.forget(link);
            self.interest.confirm(&batch);
            if let Err(error) = link.unsubscribe(&self.channels(&batch.unsubscribe)).await {
                return error;
            }
            self.metrics.topics.set(i64::try_from(self.interest.len()).unwrap_or(i64::MAX));
        }
    }

    /// Has topics subscribed to again when they have moved to another server.
    async fn heed(&self, link: &Link) -> RedisError {
        loop {
            link.moves().wait().await;
            self.forget(link);
        }
    }

    fn forget(&self, link: &Link) {
        if let Some(has_moved) = link.moves().take() {
            self.interest.forget(|key| has_moved(&self.channel(key)));
        }
    }

    async fn receive(&self, handler: &dyn Handler) {
        let mut links = Links::default();
        loop {
            for bytes in self.incoming.take(64, BATCH_BYTES).await {
                match links.is_late(&bytes) {
                    true => self.metrics.dropped("late", 1),
                    false => super::receive(&bytes, handler, &self.metrics),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn channels(&self, keys: &[Key]) -> Vec<String> {
        keys.iter().map(|key| self.channel(key)).collect()
    }

    fn hand_over(
        &self,
        envelope: &Envelope,
        others: Option<oneshot::Sender<usize>>,
    ) -> Result<(), Refused> {
        if !self.interest.is_up() {
            self.metrics.dropped("away", 1);
            return Err(Refused::Away);
        }
        let (channel, bytes) = (self.channel(&envelope.key), envelope.encode());
        let size = bytes.len() + channel.len();
        if !self.outgoing.push(size, Outgoing { channel, bytes, others }) {
            self.metrics.dropped("full", 1);
            return Err(Refused::Full);
        }
        Ok(())
    }

    fn channel(&self, key: &Key) -> String {
        let kind = if key.private { "private" } else { "public" };
        // The tenant last but one: it may hold colons, a topic starts with `realtime:`.
        format!("{}{kind}:{}:{}", self.prefix, key.tenant, key.topic.as_str())
    }
}

/// Messages on their way. Lost if it is dropped, also because something else
/// noticed first that the server is away.
struct Flight<'a> {
    messages: usize,
    metrics: &'a Metrics,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.metrics.dropped("lost", self.messages);
    }
}

impl Bus for Redis {
    fn node(&self) -> NodeId {
        self.node
    }

    fn publish(&self, envelope: &Envelope) -> Result<(), Refused> {
        self.hand_over(envelope, None)
    }

    fn ask(&self, envelope: &Envelope) -> Result<oneshot::Receiver<usize>, Refused> {
        let (told, others) = oneshot::channel();
        self.hand_over(envelope, Some(told))?;
        Ok(others)
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }
}
