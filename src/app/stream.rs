//! A project's stream and its janitor, which run while they are wanted.
//!
//! Whoever needs them no more says so with `Tenant::want_stream`; the next join
//! wants them again. The slot does not wait for that: it would hold log back.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    build::{janitor as upkeep, stream},
    shared::Shared,
};
use crate::{
    config::Settings,
    replication::{
        self,
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
    settings: Arc<Settings>,
    /// As of the one that runs.
    status: watch::Sender<Status>,
    handle: Handle,
    janitor: janitor::Handle,
}

impl Stream {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let (status, handle) = Handle::channel();
        Self { settings, status, handle, janitor: janitor::Handle::default() }
    }

    /// How it is doing.
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Asks its janitor for something.
    pub(super) fn janitor(&self) -> janitor::Handle {
        self.janitor.clone()
    }

    /// The settings of its project.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
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
            let families = &shared.families;
            if let Some(config) = upkeep(&self.settings) {
                janitor::spawn(config, &self.janitor, &part.work, &families.janitors);
            }
            let config = stream(&self.settings);
            let handle =
                shared.nodes.read(config.clone(), Arc::clone(&sink), &part, &families.streams);
            tokio::select! {
                () = self.follow(&handle) => {}
                Ok(_) = wanted.wait_for(|wanted| !*wanted) => {}
                () = ground.started() => return,
            }
            part.work.finish(END).await;
            part.ground.finish(END).await;
            sink.interrupted();
            self.status.send_replace(Status::Starting { detail: "not wanted".into() });
            tokio::select! {
                _ = replication::give_up(&config) => {}
                () = ground.started() => return,
            }
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
