//! Copy-both mode: replication frames in, status updates out.

use std::{fmt, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use postgres_protocol::message::frontend::{self, CopyData};
use tokio::time::timeout;

use super::{
    error::{ServerError, WireError},
    startup::{Link, send},
};
use crate::postgres::pgoutput::{Frame, StatusUpdate};

/// A running replication stream.
pub struct ReplicationStream {
    link: Link,
}

impl ReplicationStream {
    pub(super) fn new(link: Link) -> Self {
        Self { link }
    }

    /// The next frame. Cancel safe.
    ///
    /// # Errors
    ///
    /// Every error ends the stream; the server's own end is [`WireError::Closed`].
    pub async fn next(&mut self) -> Result<Frame, WireError> {
        loop {
            let message = self.link.next().await.ok_or(WireError::Closed)??;
            match message.tag {
                b'd' => return Ok(Frame::decode(&message.body)?),
                b'E' => return Err(ServerError::decode(&message.body)?.into()),
                // Notices and changed parameters.
                b'N' | b'S' => {}
                // Copy done and what follows it: the server shuts down.
                b'c' | b'C' | b'Z' => return Err(WireError::Closed),
                tag => return Err(WireError::Unexpected { tag }),
            }
        }
    }

    /// Reports how far the client is.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn send_status(&mut self, status: StatusUpdate) -> Result<(), WireError> {
        let copy = CopyData::new(status.encode())?;
        send(&mut self.link, |out| {
            copy.write(out);
            Ok(())
        })
        .await
    }

    /// Ends the stream in order: waits, at most `limit`, until the server
    /// stops sending, so that it has read the last status and let the slot go.
    pub async fn finish(mut self, limit: Duration) {
        let goodbye = async {
            let done = send(&mut self.link, |out| {
                frontend::copy_done(out);
                Ok(())
            });
            done.await?;
            while let Some(message) = self.link.next().await {
                if message?.tag == b'Z' {
                    break;
                }
            }
            send(&mut self.link, |out| {
                frontend::terminate(out);
                Ok(())
            })
            .await?;
            self.link.close().await?;
            Ok::<_, WireError>(())
        };
        let _ = timeout(limit, goodbye).await;
    }
}

impl fmt::Debug for ReplicationStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationStream").finish_non_exhaustive()
    }
}
