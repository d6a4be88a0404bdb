//! Looks after projects while they run: who is idle goes, who is another now
//! follows, and what other servers say is done here too.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{cluster::News, projects::Projects};
use crate::runtime::Drain;

/// Between two looks at the projects.
const LOOK: Duration = Duration::from_secs(60);

/// What other servers are told of a tenant.
pub(super) mod word {
    /// Its record is another, or gone.
    pub(in crate::app) const CHANGED: &str = "changed";
    /// An operator wants it to begin anew.
    pub(in crate::app) const RELOAD: &str = "reload";
    /// An operator wants its database to be left alone.
    pub(in crate::app) const SHUTDOWN: &str = "shutdown";
}

impl Projects {
    /// Whether one more may be served; the one that was idle for longest may
    /// have to go.
    pub(super) async fn make_room(&self) -> bool {
        let (count, idlest) = {
            let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
            let idle = running.values().filter(|project| project.is_idle(Duration::ZERO));
            (running.len(), idle.max_by_key(|project| project.idle()).cloned())
        };
        if count < self.most {
            return true;
        }
        let Some(project) = idlest else { return false };
        // Not in its turn, which might wait for this one: whoever asks for it
        // meanwhile is told to try again.
        let name = Arc::clone(&project.services.tenant.name);
        let Ok(_turn) = timeout(Duration::from_secs(1), self.turn(&name)).await else {
            return false;
        };
        self.end_if_idle(&name, Duration::ZERO).await
    }

    async fn end_if_idle(&self, name: &str, limit: Duration) -> bool {
        let project = {
            let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
            // Under the lock, so that nobody is given it meanwhile.
            match running.get(name) {
                Some(project) if project.is_idle(limit) => running.remove(name),
                _ => None,
            }
        };
        let Some(project) = project else { return false };
        project.stop(&self.shared).await;
        tracing::info!(tenant = name, "nobody uses the tenant: it is served no more");
        true
    }

    /// Once a minute: stops who is idle, and follows what was changed elsewhere.
    pub(super) async fn look_after(self: Arc<Self>, drain: Drain) {
        let mut ticks = interval(LOOK.min(self.idle));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.started() => return,
            }
            let names: Vec<Arc<str>> = {
                let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
                running.keys().cloned().collect()
            };
            for name in names {
                if drain.is_draining() {
                    return;
                }
                let is_idle = match self.running(&name) {
                    Some(project) => {
                        project.close_idle();
                        project.is_idle(self.idle)
                    }
                    None => false,
                };
                if is_idle {
                    let _turn = self.turn(&name).await;
                    self.end_if_idle(&name, self.idle).await;
                } else {
                    self.follow(&name).await;
                }
            }
        }
    }

    /// What other servers say.
    pub(super) async fn hear(
        self: Arc<Self>,
        mut news: mpsc::Receiver<News>,
        mut up: watch::Receiver<bool>,
        drain: Drain,
    ) {
        loop {
            tokio::select! {
                Some((name, word)) = news.recv() => {
                    self.cache.invalidate(&name);
                    let projects = Arc::clone(&self);
                    drain.spawn("news of a tenant", async move {
                        match word.as_str() {
                            word::RELOAD => projects.reload(&name).await,
                            word::SHUTDOWN => projects.rest(&name),
                            _ => projects.follow(&name).await,
                        }
                    });
                }
                // Something may have been missed.
                Ok(()) = up.changed() => self.cache.invalidate_all(),
                () = drain.started() => return,
            }
        }
    }
}
