//! Chat: rooms whose messages are rows of tables, and whose pushes are the log's.
//!
//! A verb of a client becomes one call of a function in the schema `chat`, as
//! the client's role with its claims: who may do what is decided there, by row
//! security and triggers, for every writer alike. What happened is told by
//! [`sink`] from the replication stream alone, in commit order, so an `insert`
//! in psql is as good as a verb. Only what is never stored is told directly:
//! typing and status. Both doors, sockets and HTTP, end in the same methods.
//!
//! Everything held here is bounded: [`Config`] names the bounds.

mod call;
mod config;
mod error;
mod history;
mod joined;
mod messages;
mod metrics;
mod push;
mod receipts;
mod rooms;
mod rows;
mod shards;
mod sink;
mod status;
mod typing;
mod verb;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    auth::Claims,
    hub::{ChannelId, Key, Subscriber, topics::Hub},
    protocol::system,
    runtime::Drain,
    tenants::Tenant,
    topic::Topic,
};

use self::{
    joined::{Entry, Joined, Seat},
    receipts::Receipts,
    typing::Typing,
};

pub use self::{
    config::{Config, Mode},
    error::{ChatError, Code},
    history::Page,
    joined::Ticket,
    metrics::{Metrics, Series},
    receipts::Marker,
    rooms::{Invitation, Members, NewRoom},
    shards::{BUCKETS, Move, MoveError, Place, Shards, bucket, places, slot_name},
    sink::Pushes,
    status::Status,
    verb::{Act, Mark, Verb},
};

/// The chat of one tenant. Clones share it.
#[derive(Debug, Clone)]
pub struct Chat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    shards: Shards,
    hub: Arc<Hub>,
    tenant: Arc<Tenant>,
    drain: Drain,
    series: Series,
    state: AtomicU8,
    joined: Joined,
    receipts: Receipts,
    typing: Typing,
    status: Arc<Status>,
}

/// Whether there is a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The database was not asked yet.
    Unknown,
    /// No.
    Off,
    /// Yes.
    On,
}

impl Chat {
    /// A chat in the databases of `shards`, if they have one. Until that is known
    /// rooms are kept for it. `status` is its own, and started by [`Chat::run`].
    pub fn new(
        config: Config,
        shards: Shards,
        hub: Arc<Hub>,
        tenant: Arc<Tenant>,
        drain: Drain,
        series: Series,
        status: Arc<Status>,
    ) -> Self {
        let (receipts, typing) = (Receipts::new(&config), Typing::new(&config));
        let chat = Self(Arc::new(Inner {
            config,
            shards,
            hub,
            tenant,
            drain,
            series,
            state: AtomicU8::new(0),
            joined: Joined::default(),
            receipts,
            typing,
            status,
        }));
        chat.become_state(match config.mode {
            Mode::Off => State::Off,
            Mode::Auto | Mode::On => State::Unknown,
        });
        chat
    }

    /// Runs what ends by itself, until the drain begins.
    pub fn run(&self) {
        if self.0.config.mode != Mode::Off {
            self.0.drain.spawn("chat typing", self.clone().end_typing());
            self.0.status.start(&self.0.drain);
            self.0.drain.spawn("chat status", self.clone().announce_status());
            if self.0.shards.is_spread() {
                self.0.drain.spawn("chat shards", self.clone().keep_map());
            }
        }
    }

    /// Whether there is a chat.
    pub fn state(&self) -> State {
        match self.0.state.load(Ordering::Acquire) {
            0 => State::Unknown,
            1 => State::Off,
            _ => State::On,
        }
    }

    /// Its bounds.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What it counts.
    pub fn series(&self) -> &Series {
        &self.0.series
    }

    /// Whether the chat says what happens on a topic.
    pub fn keeps(&self, key: &Key) -> bool {
        key.private && self.state() != State::Off && key.topic.room().is_some()
    }

    /// Asks the database, the first of several, whether it has the tables.
    ///
    /// # Errors
    ///
    /// If it does not answer; nothing is changed then.
    pub async fn look(&self) -> Result<State, ChatError> {
        if self.0.config.mode == Mode::Off {
            return Ok(State::Off);
        }
        let query = "select to_regclass('chat.schema_migrations') is not null";
        let rows = self.ask(0, query).await?;
        let mut state = match rows.last().map(String::as_str) {
            Some("t") => State::On,
            _ => State::Off,
        };
        if self.0.shards.is_spread() {
            if state == State::On {
                Box::pin(self.0.shards.reload()).await?;
            }
            // Somebody has yet to install it, perhaps this very process.
            if self.0.shards.map().is_none() {
                state = State::Unknown;
            }
        }
        self.become_state(state);
        Ok(state)
    }

    fn become_state(&self, state: State) {
        self.0.state.store(state as u8, Ordering::Release);
        self.0.tenant.keep_rooms(state != State::Off);
    }

    fn require(&self) -> Result<(), ChatError> {
        match self.state() {
            State::On => Ok(()),
            State::Unknown => Err(ChatError::unavailable()),
            State::Off => {
                let text = "There is no chat in this database: run `rowcast migrate --chat`.";
                Err(ChatError::new(Code::Unavailable, text))
            }
        }
    }

    /// To be taken before the policies of a join are asked.
    pub fn ticket(&self) -> Ticket {
        self.0.joined.ticket()
    }

    /// A channel enters its topic by `join`. If the topic is a room and the
    /// user was removed from it meanwhile, it is shut down instead.
    pub fn enter(
        &self,
        key: &Key,
        claims: &Claims,
        subscriber: &Arc<Subscriber>,
        ticket: Ticket,
        join: impl FnOnce(),
    ) {
        // Also where there is no chat yet: it may be installed while they are joined.
        let may = key.private && self.0.config.mode != Mode::Off;
        let Some(room) = key.topic.room().filter(|_| may) else { return join() };
        let user = user(claims);
        let seat = Seat {
            user,
            is_service: &**claims.role() == "service_role",
            key: key.clone(),
            subscriber: Arc::clone(subscriber),
        };
        let entry = self.0.joined.enter(room, seat.clone(), ticket, join);
        if entry == Entry::Refused {
            return self.cut(&seat);
        }
        if let Some(user) = user {
            self.0.status.enter(user);
        }
        if let Entry::Again(Some(before)) = entry {
            self.0.status.leave(before);
        }
    }

    /// Ends a channel whose user may no longer be in the room: it hears nothing
    /// more, whatever its socket does.
    fn cut(&self, seat: &Seat) {
        self.0.hub.leave(&seat.key, &seat.subscriber);
        let reason = system::lost_access(seat.key.topic.sub_topic());
        seat.subscriber.outbox.shut_down(seat.subscriber.id, reason);
    }

    /// A channel left its topic: what it has to say is said at once.
    pub fn leave(&self, key: &Key, channel: ChannelId) {
        let Some(room) = key.topic.room().filter(|_| key.private) else { return };
        let seat = self.0.joined.leave(room, channel);
        let Some(user) = seat.and_then(|seat| seat.user) else { return };
        self.0.receipts.hurry(room, user);
        self.stop_typing_on(room, user, channel);
        self.0.status.leave(user);
    }

    /// A channel's token is another user's from now on. `ticket` is from before
    /// the policies were asked about it.
    pub fn reseat(&self, key: &Key, claims: &Claims, subscriber: &Arc<Subscriber>, ticket: Ticket) {
        self.leave(key, subscriber.id);
        self.enter(key, claims, subscriber, ticket, || {});
    }

    /// Says something in a room, on all nodes, to all but `skip`.
    fn say(
        &self,
        room: Uuid,
        event: &'static str,
        payload: impl Into<Bytes>,
        skip: Option<ChannelId>,
    ) {
        let message = push::fanout(event, payload.into());
        let key = self.key(room);
        let told = self.0.hub.broadcast(&key, &message, skip).delivered;
        self.0.tenant.meters.events.record(told);
        self.0.series.pushed(event);
    }

    fn key(&self, room: Uuid) -> Key {
        Key { tenant: Arc::clone(&self.0.tenant.name), private: true, topic: Topic::of_room(room) }
    }
}

/// How many entries a page has: as many as are wanted, within reason.
fn page_of(limit: Option<i32>) -> i32 {
    limit.unwrap_or(50).clamp(1, 100)
}

/// The user's id: a `sub` that is a UUID, as in the tables.
pub fn user(claims: &Claims) -> Option<Uuid> {
    Uuid::parse_str(claims.subject()?).ok()
}
