//! How long a client may take to send a body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// A body that has to end in time.
pub(super) struct Timed {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

/// Why there is no more of a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// It did not end in time.
    #[error("the body took too long")]
    Late,
    /// The connection broke.
    #[error(transparent)]
    Lost(#[from] hyper::Error),
}

impl Timed {
    /// A body that has to end within `limit` from now.
    pub(super) fn new(body: Incoming, limit: Duration) -> Self {
        Self { body, deadline: Box::pin(sleep(limit)) }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Broken::Lost))),
            Poll::Pending => match this.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Broken::Late))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
