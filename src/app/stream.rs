//! A project's stream and its janitor, which run while they are wanted.
//!
//! Whoever needs them no more says so with `Tenant::want_stream`; the next join
//! wants them again. The database may become another one meanwhile.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    build::{janitor as upkeep, stream},
    shared::Shared,
};
use crate::{
    config::Settings,
    replication::{
        sink::ChangeSink,
        status::{Handle, Status},
    },
    runtime::Stages,
    tenants::{Tenant, janitor},
};

/// A stream that ends may take this long.
const END: Duration = Duration::from_secs(10);

/// The stream of one tenant.
#[derive(Debug)]
pub(super) struct Stream {
    settings: Mutex<Arc<Settings>>,
    /// Start over with other settings.
    again: Notify,
    /// As of the one that runs.
    status: watch::Sender<Status>,
    handle: Handle,
    janitor: janitor::Handle,
}

impl Stream {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let (status, handle) = Handle::channel();
        let settings = Mutex::new(settings);
        let janitor = janitor::Handle::default();
        Self { settings, again: Notify::new(), status, handle, janitor }
    }

    /// How it is doing.
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Asks its janitor for something.
    pub(super) fn janitor(&self) -> janitor::Handle {
        self.janitor.clone()
    }

    /// The settings as they are now.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs it until the stages end.
    pub(super) async fn run<S: ChangeSink>(
        self: Arc<Self>,
        shared: Arc<Shared>,
        tenant: Arc<Tenant>,
        sink: S,
        stages: Stages,
    ) {
        let sink = Arc::new(sink);
        let mut wanted = tenant.wants_stream();
        let ground = stages.ground.clone();
        loop {
            tokio::select! {
                Ok(_) = wanted.wait_for(|wanted| *wanted) => {}
                () = ground.started() => return,
            }
            // Other stages end with the server or the project, these before.
            let part = stages.child();
            let settings = self.settings();
            let families = &shared.families;
            if let Some(config) = upkeep(&settings) {
                janitor::spawn(config, &self.janitor, &part.work, &families.janitors);
            }
            let config = stream(&settings);
            let handle = shared.nodes.read(config, Arc::clone(&sink), &part, &families.streams);
            tokio::select! {
                () = self.follow(&handle) => {}
                Ok(_) = wanted.wait_for(|wanted| !*wanted) => {}
                () = self.again.notified() => {}
                () = ground.started() => return,
            }
            part.work.finish(END).await;
            part.ground.finish(END).await;
            sink.interrupted();
            self.status.send_replace(Status::Starting { detail: "not wanted".into() });
        }
    }

    /// Repeats what a running stream says of itself, until it ends.
    async fn follow(&self, handle: &Handle) {
        let mut status = handle.watch();
        loop {
            let now = status.borrow_and_update().clone();
            self.status.send_replace(now);
            if status.changed().await.is_err() {
                // It drains, with the project: that is said by others.
                std::future::pending::<()>().await;
            }
        }
    }
}
