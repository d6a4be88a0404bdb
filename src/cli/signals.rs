//! The wish to stop: Ctrl-C, or SIGTERM from a service manager.

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

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
        let [interrupt, terminate] = &mut signals;
        for _ in 0..count {
            tokio::select! {
                () = next(interrupt) => {}
                () = next(terminate) => {}
            }
        }
    }
}

async fn next(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
