//! A key set that is published at a URL: fetched by one task, read by all.
//!
//! Reading never waits and never fetches. The task fetches at the start, then
//! at a steady pace, and early when a token names a key that is not there, but
//! then only after a rest: tokens are made by anybody. When fetching fails the
//! keys at hand stay in force for a while, so that a restart of the publisher
//! goes unnoticed and a key that was withdrawn does not live for ever.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    error_code::ErrorCode,
    runtime::{Drain, backoff::Backoff},
    telemetry,
};

use super::{
    jwks::Jwks,
    jwks_fetch::{self, Address},
};

/// The usual [`Config::rest`].
const REST: Duration = Duration::from_secs(10);

/// The usual [`Config::keep`].
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// The first pause after a failure; the following ones grow up to [`Config::refresh`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How long [`JwksSource::refreshed`] waits: a fetch and a little more.
const PATIENCE: Duration = jwks_fetch::LIMIT.saturating_add(Duration::from_millis(500));

/// When to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The pace while all is well.
    pub refresh: Duration,
    /// The least time between the end of a fetch and one that is asked for.
    pub rest: Duration,
    /// How long keys are believed in without a successful fetch.
    pub keep: Duration,
}

impl Config {
    /// Every `refresh`, every ten seconds if asked for; keys last a day.
    pub fn every(refresh: Duration) -> Self {
        Self { refresh, rest: REST, keep: KEEP }
    }
}

/// The keys at a URL. One for each tenant: two publishers may use the same
/// name for different keys.
pub struct JwksSource {
    address: Address,
    config: Config,
    wanted: Notify,
    state: watch::Sender<State>,
}

struct State {
    keys: Option<Arc<Jwks>>,
    /// When the keys were fetched.
    fetched: Instant,
    /// Nothing is fetched on demand before this.
    rests_until: Instant,
}

impl JwksSource {
    /// A source without keys, until its task runs.
    pub fn new(address: Address, config: Config) -> Self {
        let now = Instant::now();
        let state = State { keys: None, fetched: now, rests_until: now };
        Self { address, config, wanted: Notify::new(), state: watch::Sender::new(state) }
    }

    /// The keys at hand.
    pub fn current(&self) -> Option<Arc<Jwks>> {
        self.state.borrow().keys.clone()
    }

    /// Asks for a fetch as soon as one is allowed. Returns at once.
    pub fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Asks for a fetch and waits for its end; returns at once when one has
    /// just ended, so that made-up names cost nobody time. Cancel safe.
    pub async fn refreshed(&self) {
        let mut state = self.state.subscribe();
        if Instant::now() < state.borrow_and_update().rests_until {
            return;
        }
        self.ask();
        let _ = timeout(PATIENCE, state.changed()).await;
    }

    /// Fetches until shutdown. To be run once.
    pub async fn run(self: Arc<Self>, drain: Drain) {
        let mut retries = Backoff::new(FIRST_RETRY, self.config.refresh);
        loop {
            let pause = tokio::select! {
                () = drain.started() => return,
                pause = self.fetch(&mut retries) => pause,
            };
            tokio::select! {
                () = drain.started() => return,
                () = sleep(pause) => {}
                () = self.wanted_and_rested() => {}
            }
        }
    }

    /// Fetches once and returns the pause until the next time.
    async fn fetch(&self, retries: &mut Backoff) -> Duration {
        let outcome = self.address.fetch().await;
        // Who asked meanwhile is served by what came now.
        let _ = futures_util::FutureExt::now_or_never(self.wanted.notified());
        let now = Instant::now();
        let rests_until = now + self.config.rest;
        match outcome {
            Ok(keys) => {
                keys.warn_of_skipped();
                tracing::debug!(host = self.address.host(), keys = keys.len(), "key set fetched");
                let state = State { keys: Some(Arc::new(keys)), fetched: now, rests_until };
                self.state.send_replace(state);
                retries.reset();
                self.config.refresh
            }
            Err(error) => {
                let error = telemetry::reason(&error);
                tracing::warn!(
                    code = %ErrorCode::JwtSignerError, host = self.address.host(), error,
                    "key set not fetched"
                );
                self.state.send_modify(|state| {
                    state.rests_until = rests_until;
                    if state.keys.is_some() && now - state.fetched >= self.config.keep {
                        tracing::error!(
                            code = %ErrorCode::JwtSignerError,
                            "the key set is too old: its tokens are refused"
                        );
                        state.keys = None;
                    }
                });
                retries.pause()
            }
        }
    }

    async fn wanted_and_rested(&self) {
        self.wanted.notified().await;
        let rests_until = self.state.borrow().rests_until;
        sleep_until(rests_until).await;
    }
}

impl fmt::Debug for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.address.host();
        f.debug_struct("JwksSource").field("host", &host).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "jwks_source_tests.rs"]
mod tests;
