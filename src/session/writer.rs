//! From the outbox to the transport, without letting a slow client hold on.

use std::{borrow::Cow, time::Duration};

use crate::{
    hub::{
        ChannelId,
        outbox::{Drained, Item, Outbox},
    },
    protocol::prepared::Frame,
};

use super::transport::Transport;

/// Bytes that are written with one time limit, unless a frame alone has more.
const PART: usize = 512 * 1024;

/// How sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Everything is with the operating system.
    All,
    /// The client reads too slowly.
    Slow,
    /// The client is gone.
    Gone,
}

/// Buffers that one socket reuses for every batch.
#[derive(Debug, Default)]
pub struct Writer {
    items: Vec<Item>,
    frames: Vec<Frame>,
}

/// A request to the socket's own task, found between the frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// The channel to end.
    pub channel: ChannelId,
    /// What its client is told.
    pub reason: Cow<'static, str>,
}

impl Writer {
    /// Makes a batch of what is queued and returns the requests that were
    /// among it; `None` if the outbox has overflowed.
    pub fn take(&mut self, outbox: &Outbox) -> Option<Vec<Shutdown>> {
        if outbox.drain(&mut self.items) == Drained::Overflowed {
            return None;
        }
        let mut requests = Vec::new();
        for item in self.items.drain(..) {
            match item {
                Item::Frame(frame) => self.frames.push(frame),
                Item::Shutdown { channel, reason } => requests.push(Shutdown { channel, reason }),
            }
        }
        Some(requests)
    }

    /// Bytes of the batch.
    pub fn size(&self) -> u64 {
        self.frames.iter().map(|frame| frame.len() as u64).sum()
    }

    /// Sends the batch, a large one in parts. Gives up when the outbox overflows
    /// meanwhile or a part takes longer than `limit`.
    pub async fn send(
        &mut self,
        transport: &mut impl Transport,
        outbox: &Outbox,
        limit: Duration,
    ) -> Sent {
        let mut sent = Sent::All;
        while sent == Sent::All && !self.frames.is_empty() {
            let rest = self.frames.split_off(self.first_part());
            sent = tokio::select! {
                biased;
                sent = transport.send(&mut self.frames) => match sent {
                    Ok(()) => Sent::All,
                    Err(_) => Sent::Gone,
                },
                () = outbox.overflowed() => Sent::Slow,
                () = tokio::time::sleep(limit) => Sent::Slow,
            };
            self.frames.clear();
            if !rest.is_empty() {
                self.frames = rest;
            }
        }
        self.frames.clear();
        // Most sockets idle most of the time: keep no memory for the next burst.
        if self.frames.capacity() > 16 {
            self.frames = Vec::new();
            self.items = Vec::new();
        }
        sent
    }

    /// How many frames make a part: at least one.
    fn first_part(&self) -> usize {
        let mut size = 0;
        let fits = |frame: &&Frame| {
            size += frame.len();
            size <= PART
        };
        self.frames.iter().take_while(fits).count().clamp(1, self.frames.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_batch_goes_in_parts() {
        let mut writer = Writer::default();
        let mut part = |frames: &[usize]| {
            writer.frames = frames.iter().map(|size| Frame::text("x".repeat(*size))).collect();
            writer.first_part()
        };
        assert_eq!(part(&[10, 10]), 2);
        assert_eq!(part(&[PART - 1, 1, 1]), 2);
        assert_eq!(part(&[2 * PART, 1]), 1);
    }
}
