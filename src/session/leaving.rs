//! How a socket leaves a server that stops: at a moment of its own, with what
//! its client has asked for done and answered.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};

use super::{socket::Socket, transport::Transport};

/// How long a socket that is to close waits for answers.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

impl Socket {
    /// The server stops: from now on there is a moment to leave.
    pub(super) fn prepare_to_leave(&mut self) {
        let services = &self.context.services;
        self.leaves_at = Some(services.waves.moment(services.drain.tasks()));
    }

    /// True once the moment has come.
    pub(super) fn is_to_leave(&self) -> bool {
        self.leaves_at.is_some_and(|moment| moment <= Instant::now())
    }

    /// What was taken from the client is done and answered, within a limit.
    pub(super) async fn complete(&mut self, transport: &mut impl Transport) {
        let outbox = Arc::clone(&self.context.outbox);
        let limit = sleep(LAST_ANSWERS);
        tokio::pin!(limit);
        self.channels.values_mut().for_each(|channel| channel.changes.give_up());
        while !self.tasks.is_empty() {
            tokio::select! {
                Some(done) = self.tasks.next(), if outbox.takes_answers() => {
                    self.on_done(done);
                }
                () = outbox.ready() => {
                    if self.flush(transport).await.is_some() {
                        return;
                    }
                }
                () = &mut limit => return,
            }
        }
    }
}
