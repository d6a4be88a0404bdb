//! Slow work of a socket and what comes of it.

use std::{fmt, future::Future, pin::Pin};

use futures_util::stream::FuturesUnordered;

use crate::{
    auth::Claims,
    authorization::{AuthorizeError, Rights},
    chat::Ticket,
    hub::ChannelId,
    protocol::{message::Inbound, prepared::Frame},
    secret::Secret,
    topic::Topic,
};

use super::{
    handlers::{database::FromDatabase, postgres_changes::Attempt},
    join::Candidate,
};

/// Slow work of a socket; each future ends as an event of its loop.
pub type Tasks = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

/// Slow work that is to begin if the socket has room for it.
pub struct Task(pub(super) Pin<Box<dyn Future<Output = Done> + Send>>);

impl Task {
    /// Nothing of it happens yet.
    pub fn new(work: impl Future<Output = Done> + Send + 'static) -> Self {
        Self(Box::pin(work))
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

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
    /// Work with stored messages has ended.
    Database {
        /// The topic of the channel.
        topic: Topic,
        /// The channel; it may be gone.
        channel: ChannelId,
        /// The outcome.
        result: FromDatabase,
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
    /// What a channel may send, and the message that waits for this.
    Write(ChannelId, Box<Inbound>, Permitted),
    /// What a channel may receive with a new token.
    Read(ChannelId, (Secret, Claims, Ticket), Permitted),
}

impl Answer {
    /// The database has no place for today's messages.
    pub(super) fn finds_no_partition(&self) -> bool {
        let (Self::Join(_, permitted) | Self::Write(_, _, permitted) | Self::Read(_, _, permitted)) =
            self;
        *permitted == Err(AuthorizeError::MissingPartition)
    }
}

/// What the policies said.
pub type Permitted = Result<Rights, AuthorizeError>;
