//! The apply loop: frames off the link, batches to the sink, confirmations back.

use tokio::sync::OwnedSemaphorePermit;

use super::{
    change::Batch,
    error::StreamError,
    link::{Event, Link},
    metrics::Series,
    position::Lsn,
    prepare::History,
    sink::ChangeSink,
    transaction::{Assembler, Step},
};
use crate::{
    postgres::pgoutput::{self, Frame},
    runtime::Drain,
};

/// Why the loop ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// A drain began; everything that was delivered is confirmed.
    Drained,
    /// The stream broke.
    Broken(StreamError),
    /// The link ended without a reason: the guard stopped it, or its task panicked.
    Stopped,
}

/// Changes that are handed over together, if they are there already.
const GROUP: usize = 256;

/// What the frames that have come add up to.
#[derive(Debug, Default)]
struct Group {
    batches: Vec<Batch>,
    changes: usize,
    confirm: Option<Lsn>,
    /// The frames' places in the queue, kept until all are handed off.
    places: Vec<OwnedSemaphorePermit>,
    broken: Option<StreamError>,
}

/// Runs until the stream breaks or a drain begins. A batch is never abandoned
/// half delivered: the loop only ends between two. What `history` says is true
/// at every await, so that a sink that panics costs nothing.
pub(super) async fn apply<S: ChangeSink>(
    link: &mut Link,
    assembler: &mut Assembler,
    history: &mut History,
    sink: &S,
    drain: &Drain,
    series: &Series,
) -> Ended {
    loop {
        let event = tokio::select! {
            biased;
            () = drain.started() => return Ended::Drained,
            event = link.events.recv() => event,
        };
        let mut group = Group::default();
        match event {
            Some(event) => group.take(event, assembler),
            None => return Ended::Stopped,
        }
        // What came while the sink was busy goes together.
        while group.has_room()
            && let Ok(event) = link.events.try_recv()
        {
            group.take(event, assembler);
        }
        if let Err(error) = sink.hand_off(&group.batches, group.confirm).await {
            return Ended::Broken(error.into());
        }
        series.handed_on(&group.batches);
        history.progress = assembler.progress();
        if let Some(lsn) = group.confirm {
            history.confirmed = Some(link.confirm(lsn));
        }
        if let Some(error) = group.broken {
            return Ended::Broken(error);
        }
    }
}

impl Group {
    fn has_room(&self) -> bool {
        self.broken.is_none() && self.changes < GROUP
    }

    fn take(&mut self, event: Event, assembler: &mut Assembler) {
        let (frame, place) = match event {
            Event::Frame(frame, place) => (frame, place),
            Event::End(error) => {
                self.broken = Some(error.into());
                return;
            }
        };
        self.places.push(place);
        match frame {
            Frame::Data { message, .. } => {
                self.broken = self.assemble(assembler, &message).err();
            }
            // Everything up to there has been sent, came through the same
            // queue, and is handed off first: other tables' log is no longer needed.
            Frame::KeepAlive { wal_end, .. } if assembler.is_idle() => {
                self.confirm = Some(Lsn(wal_end));
            }
            Frame::KeepAlive { .. } => {}
        }
    }

    fn assemble(
        &mut self,
        assembler: &mut Assembler,
        message: &bytes::Bytes,
    ) -> Result<(), StreamError> {
        let (batch, confirm) = match assembler.push(pgoutput::decode(message)?)? {
            Step::Nothing => return Ok(()),
            Step::Batch(batch) => (Some(batch), None),
            Step::End { batch, confirm } => (batch, Some(confirm)),
        };
        if let Some(batch) = batch {
            self.changes += batch.changes.len();
            self.batches.push(batch);
        }
        self.confirm = confirm.or(self.confirm);
        Ok(())
    }
}
