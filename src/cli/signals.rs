//! The wish to stop: Ctrl-C, or SIGTERM from a service manager.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use super::Failure;

/// What comes this soon after a signal is the same wish: a terminal tells the
/// whole group of processes, and a wrapper among them passes it on.
const SAME: Duration = Duration::from_millis(300);

type Signals = [Option<Signal>; 2];

/// Completes at the first such signal, which asks for an orderly end. Arm it
/// before slow work, so that none is missed.
pub(super) fn first() -> impl Future<Output = ()> {
    nth(1)
}

/// Completes at the second one: whoever sends it will not wait. A private
/// database is stopped properly all the same.
pub(super) fn second() -> impl Future<Output = ()> {
    nth(2)
}

/// What to say then.
pub(super) fn cut_short() -> Failure {
    Failure::new(
        "Stopped before everything had ended, at the second signal.",
        "send one signal only to have clients told, and what they sent finished.",
    )
}

fn nth(count: usize) -> impl Future<Output = ()> {
    let mut signals =
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    async move {
        any(&mut signals).await;
        for _ in 1..count {
            let _ = timeout(SAME, echoes(&mut signals)).await;
            any(&mut signals).await;
        }
    }
}

async fn any([interrupt, terminate]: &mut Signals) {
    tokio::select! {
        () = next(interrupt) => {}
        () = next(terminate) => {}
    }
}

/// Takes what comes, without an end.
async fn echoes(signals: &mut Signals) {
    loop {
        any(signals).await;
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
