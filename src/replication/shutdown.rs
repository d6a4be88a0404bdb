//! Notices a server that waits for us while we wait for it.
//!
//! A server that shuts down ends SQL sessions at once, takes no new ones, and
//! lets a stream go only when all that it sent has been confirmed. A sink that
//! needs SQL for its rows confirms nothing until the server is back: each would
//! wait for the other for ever. Hanging up loses nothing, for the slot keeps
//! what was not confirmed. A consumer that is merely slow is left alone: only
//! the server itself can say that it shuts down.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{config::Config, position::Lsn, prepare::startup};
use crate::postgres::wire::{Connection, Mode, WireError};

/// SQLSTATE of a server that takes no sessions now.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// What is watched.
pub(super) struct Watch {
    config: Arc<Config>,
    confirmed: watch::Receiver<Lsn>,
    /// Where the rows that are not handed off yet have their places.
    room: Arc<Semaphore>,
    /// The places when there are no rows.
    empty: usize,
}

impl Watch {
    /// Of a link that begins: nobody has a place in `room` yet.
    pub(super) fn new(
        config: Arc<Config>,
        confirmed: watch::Receiver<Lsn>,
        room: Arc<Semaphore>,
    ) -> Self {
        let empty = room.available_permits();
        Self { config, confirmed, room, empty }
    }

    /// Completes, with the server's words, when it shuts down and rows that it
    /// sent are stuck.
    pub(super) async fn stuck(mut self) -> WireError {
        loop {
            match timeout(self.config.stuck_after, self.confirmed.changed()).await {
                Ok(Ok(())) => continue,
                // The link is over.
                Ok(Err(_)) => return std::future::pending().await,
                Err(_) => {}
            }
            if self.room.available_permits() == self.empty {
                continue;
            }
            // Any other answer, and none at all, says nothing about a shutdown.
            let startup = startup(&self.config, Mode::Sql);
            match Box::pin(Connection::open(&self.config.connect, &startup)).await {
                Ok(connection) => connection.close().await,
                Err(error) if error.sqlstate() == Some(CANNOT_CONNECT_NOW) => return error,
                Err(_) => {}
            }
        }
    }
}
