//! The apply loop: frames off the link, batches to the sink, confirmations back.

use super::{
    error::StreamError,
    link::{Event, Link},
    metrics::Series,
    position::Lsn,
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
}

/// Runs until the stream breaks or a drain begins. A batch is never abandoned
/// half delivered: the loop only ends between two.
pub(super) async fn apply<S: ChangeSink>(
    link: &mut Link,
    assembler: &mut Assembler,
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
        let (frame, _place) = match event {
            Some(Event::Frame(frame, place)) => (frame, place),
            Some(Event::End(error)) => return Ended::Broken(error.into()),
            // Stopped from elsewhere: the guard.
            None => return Ended::Broken(StreamError::OverBudget),
        };
        match frame {
            Frame::Data { message, .. } => {
                if let Err(error) = take(link, assembler, sink, series, &message).await {
                    return Ended::Broken(error);
                }
            }
            // Everything up to there has been sent, came through the same
            // queue, and was handed off: other tables' log is no longer needed.
            Frame::KeepAlive { wal_end, .. } if assembler.is_idle() => link.confirm(Lsn(wal_end)),
            Frame::KeepAlive { .. } => {}
        }
    }
}

async fn take<S: ChangeSink>(
    link: &Link,
    assembler: &mut Assembler,
    sink: &S,
    series: &Series,
    message: &bytes::Bytes,
) -> Result<(), StreamError> {
    let (batch, confirm) = match assembler.push(pgoutput::decode(message)?)? {
        Step::Nothing => return Ok(()),
        Step::Batch(batch) => (Some(batch), None),
        Step::End { batch, confirm } => (batch, Some(confirm)),
    };
    if let Some(batch) = batch {
        series.changes.inc_by(batch.changes.len() as u64);
        if batch.is_last {
            series.transactions.inc();
            series.last_commit.set(batch.committed_at / 1_000_000);
        }
        sink.deliver(&batch).await;
    }
    if let Some(lsn) = confirm {
        link.confirm(lsn);
    }
    Ok(())
}
