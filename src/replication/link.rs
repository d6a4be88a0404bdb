//! The task that owns a running connection.
//!
//! It answers the server whatever the sink does: reports go out on its own
//! timer and at once when asked. Reading stops when the queue to the apply
//! loop is full, which is counted in bytes, and the server then waits too. It
//! hangs up on a server that would wait for ever, see [`super::shutdown`].

use std::{pin::pin, sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{config::Config, metrics::Series, position::Lsn, shutdown::Watch};
use crate::{
    postgres::{
        pgoutput::{Frame, StatusUpdate},
        wire::{ReplicationStream, WireError},
    },
    runtime,
};

/// Frames in the queue, whatever their size.
const QUEUE_FRAMES: usize = 1_024;
/// Progress is reported this often, so that a fast stream does not report each transaction.
const PROGRESS: Duration = Duration::from_secs(1);
/// A server that says nothing for this long is asked, and for twice this long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// What comes out of the queue.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame. The permit is its place in the queue: keep it until it is applied.
    Frame(Frame, OwnedSemaphorePermit),
    /// The end.
    End(WireError),
}

/// The apply loop's end of a link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) events: mpsc::Receiver<Event>,
    confirmed: watch::Sender<Lsn>,
    stop: CancellationToken,
    up: Gauge,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts the task. Nothing before `confirmed` is needed again; `heartbeat`
    /// is the longest time between reports.
    pub(super) fn start(
        stream: ReplicationStream,
        config: &Arc<Config>,
        confirmed: Lsn,
        heartbeat: Duration,
        series: Series,
    ) -> Self {
        let (sender, events) = mpsc::channel(QUEUE_FRAMES);
        let (confirmed, watched) = watch::channel(confirmed);
        let stop = CancellationToken::new();
        let pump = Pump {
            stream,
            events: sender,
            confirmed: watched,
            stop: stop.clone(),
            room: Arc::new(Semaphore::new(config.queue_bytes.max(1) as usize)),
            config: Arc::clone(config),
            heartbeat,
            series,
            wal_end: 0,
            behind: Behind::default(),
            owes: false,
            asked: false,
            last_status: Instant::now(),
            last_heard: Instant::now(),
        };
        let up = pump.series.up.clone();
        up.set(1);
        let task = runtime::spawn("replication-link", pump.run());
        Self { events, confirmed, stop, up, task }
    }

    /// Lets the server forget everything before `lsn`. Never goes back. Returns
    /// what is confirmed now.
    pub(super) fn confirm(&self, lsn: Lsn) -> Lsn {
        self.confirmed.send_if_modified(|confirmed| {
            let is_ahead = lsn > *confirmed;
            *confirmed = lsn.max(*confirmed);
            is_ahead
        });
        *self.confirmed.borrow()
    }

    /// To end the link from elsewhere.
    pub(super) fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// True if somebody ended it.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Reports what is confirmed and hangs up.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        // Unblocks a pump that waits to report the end.
        self.events.close();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Link {
    /// A link nobody reads from hangs up, also when the apply loop panicked.
    fn drop(&mut self) {
        self.stop.cancel();
        self.up.set(0);
    }
}

struct Pump {
    stream: ReplicationStream,
    events: mpsc::Sender<Event>,
    confirmed: watch::Receiver<Lsn>,
    stop: CancellationToken,
    room: Arc<Semaphore>,
    config: Arc<Config>,
    heartbeat: Duration,
    series: Series,
    /// The server's end of log as last heard.
    wal_end: u64,
    behind: Behind,
    /// The server asked for an answer and progress was not yet reported since.
    owes: bool,
    /// We asked the server for a sign of life.
    asked: bool,
    last_status: Instant,
    last_heard: Instant,
}

impl Pump {
    async fn run(mut self) {
        let ended = self.pump().await;
        // The sink may take its time to see it.
        self.series.up.set(0);
        match ended {
            Ok(()) => {
                let _ = self.report(false).await;
                self.stream.finish(GOODBYE).await;
            }
            Err(error) => {
                // Hangs up first: the queue may have no room for long.
                let Self { stream, events, .. } = self;
                drop(stream);
                // Nobody listens any more during a drain.
                let _ = events.send(Event::End(error)).await;
            }
        }
    }

    /// Runs until told to stop (Ok) or until the connection ends.
    async fn pump(&mut self) -> Result<(), WireError> {
        // Says at once where we are, as the server's own client does.
        self.report(false).await?;
        let (room, events) = (Arc::clone(&self.room), self.events.clone());
        let watch = Watch::new(Arc::clone(&self.config), self.confirmed.clone(), Arc::clone(&room));
        let mut stuck = pin!(watch.stuck());
        let mut waiting: Option<Frame> = None;
        let mut due = self.last_status + self.heartbeat;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                changed = self.confirmed.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let soon = if self.owes { Instant::now() } else { self.last_status + PROGRESS };
                    self.owes = false;
                    due = due.min(soon);
                }
                () = tokio::time::sleep_until(due) => {
                    let silence = self.last_heard.elapsed();
                    if waiting.is_none() && silence > SILENCE * 2 {
                        return Err(WireError::Timeout(silence));
                    }
                    let ask = waiting.is_none() && silence > SILENCE && !self.asked;
                    self.asked |= ask;
                    self.report(ask).await?;
                    due = self.last_status + self.heartbeat;
                }
                place = place(&room, &events, cost(waiting.as_ref(), self.config.queue_bytes)),
                    if waiting.is_some() =>
                {
                    let (Some((permit, slot)), Some(frame)) = (place, waiting.take()) else {
                        return Ok(());
                    };
                    slot.send(Event::Frame(frame, permit));
                    // The time spent waiting for room was not the server's silence.
                    self.last_heard = Instant::now();
                }
                frame = self.stream.next(), if waiting.is_none() => {
                    let frame = frame?;
                    self.hear(&frame);
                    if matches!(frame, Frame::KeepAlive { reply: true, .. }) {
                        self.owes = true;
                        self.report(false).await?;
                        due = self.last_status + self.heartbeat;
                    }
                    waiting = Some(frame);
                }
                error = &mut stuck => return Err(error),
            }
        }
    }

    fn hear(&mut self, frame: &Frame) {
        self.last_heard = Instant::now();
        self.asked = false;
        let (Frame::Data { wal_end, .. } | Frame::KeepAlive { wal_end, .. }) = frame;
        self.wal_end = self.wal_end.max(*wal_end);
        self.measure();
    }

    fn measure(&mut self) {
        let confirmed = self.confirmed.borrow().0;
        let lag = self.wal_end.saturating_sub(confirmed);
        self.series.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        let waited = self.behind.note(confirmed, self.wal_end, Instant::now());
        self.series.behind.set(waited.as_secs_f64());
    }

    async fn report(&mut self, reply: bool) -> Result<(), WireError> {
        let flushed = self.confirmed.borrow_and_update().0;
        let now = i64::try_from(runtime::clock::unix_time().as_micros()).unwrap_or(i64::MAX);
        self.measure();
        self.last_status = Instant::now();
        let sent = self.stream.send_status(StatusUpdate { flushed, now, reply });
        // A server that does not even read is gone.
        let limit = SILENCE * 2;
        tokio::time::timeout(limit, sent).await.map_err(|_| WireError::Timeout(limit))?
    }
}

/// Since when log waits to be confirmed.
#[derive(Debug, Default)]
struct Behind {
    /// An end of the log that is not confirmed yet, and when it was heard of.
    oldest: Option<(u64, Instant)>,
    /// The same, to be looked at when that one is confirmed.
    newest: Option<(u64, Instant)>,
}

impl Behind {
    /// How long the oldest has waited. Not exact: of ends that come faster than
    /// they are confirmed, two are remembered.
    fn note(&mut self, confirmed: u64, end: u64, now: Instant) -> Duration {
        if self.oldest.is_some_and(|(oldest, _)| oldest <= confirmed) {
            self.oldest = self.newest.take().filter(|(newest, _)| *newest > confirmed);
        }
        if end > confirmed {
            match self.oldest {
                None => self.oldest = Some((end, now)),
                Some((oldest, _)) if end > oldest && self.newest.is_none() => {
                    self.newest = Some((end, now));
                }
                Some(_) => {}
            }
        }
        self.oldest.map_or(Duration::ZERO, |(_, heard)| now - heard)
    }
}

fn cost(frame: Option<&Frame>, queue_bytes: u32) -> u32 {
    let Some(Frame::Data { message, .. }) = frame else { return 0 };
    // A row larger than the whole queue has it to itself.
    u32::try_from(message.len()).unwrap_or(u32::MAX).min(queue_bytes.max(1))
}

/// Waits for room in bytes and in frames. Cancel safe: nothing is taken until both are there.
async fn place<'a>(
    room: &Arc<Semaphore>,
    events: &'a mpsc::Sender<Event>,
    bytes: u32,
) -> Option<(OwnedSemaphorePermit, mpsc::Permit<'a, Event>)> {
    let permit = Arc::clone(room).acquire_many_owned(bytes).await.ok()?;
    let slot = events.reserve().await.ok()?;
    Some((permit, slot))
}
