//! What operators do where there are many tenants: the control database is
//! changed, then this server's project follows, then the other servers' do.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;

use super::{projects::Projects, tending::word};
use crate::{
    error_code::ErrorCode,
    http::tenants::{Doing, Health, Operator, Stored, Trouble, answers},
    telemetry::reason,
    tenants::{
        Tenant,
        record::Request,
        store::{PutError, StoreError},
    },
};

impl Operator for Projects {
    fn tenant(&self, id: &str) -> Option<Arc<Tenant>> {
        self.running(id).map(|project| Arc::clone(&project.services.tenant))
    }

    fn list(&self) -> Doing<'_, Vec<Value>> {
        async move { Box::pin(self.cache.store().list()).await.map_err(|error| trouble(&error)) }
            .boxed()
    }

    fn show<'a>(&'a self, id: &'a str) -> Doing<'a, Value> {
        async move {
            let record =
                Box::pin(self.cache.store().find(id)).await.map_err(|error| trouble(&error))?;
            record.map(|record| record.resource()).ok_or(Trouble::Unknown)
        }
        .boxed()
    }

    fn put<'a>(&'a self, id: Option<&'a str>, body: &'a Value) -> Doing<'a, Stored> {
        async move {
            let request = Request::parse(body, id)
                .map_err(|faults| Trouble::Invalid(faults.into_fields()))?;
            let name = request.external_id();
            let put =
                Box::pin(self.cache.store().put(&request)).await.map_err(|error| match error {
                    PutError::Invalid(faults) => Trouble::Invalid(faults.into_fields()),
                    PutError::Store(error) => trouble(&error),
                })?;
            let fields: Vec<&str> = request.names().collect();
            tracing::info!(tenant = name, created = put.created, ?fields, "tenant stored");
            let (resource, created) = (put.record.resource(), put.created);
            let record = self.cache.remember(put.record);
            if created && !record.suspend {
                let installed = Box::pin(self.install(&record)).await;
                self.cache.invalidate(name);
                installed.map_err(|error| {
                    let error = reason(&error);
                    tracing::warn!(code = %ErrorCode::MigrationsFailedToRun, tenant = name, error, "the tenant's database is not ready");
                    Trouble::NotReady(format!("the tenant was stored, but {error}"))
                })?;
            } else if put.effects.any {
                self.follow(name).await;
                self.shared.nodes.tell(name, word::CHANGED);
            }
            Ok(Stored { resource, created })
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        async move {
            let existed =
                Box::pin(self.cache.store().delete(id)).await.map_err(|error| trouble(&error))?;
            self.cache.invalidate(id);
            self.follow(id).await;
            if existed {
                self.shared.nodes.tell(id, word::CHANGED);
            }
            Ok(())
        }
        .boxed()
    }

    fn reload<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        async move {
            self.known(id).await?;
            Self::reload(self, id).await;
            self.shared.nodes.tell(id, word::RELOAD);
            Ok(())
        }
        .boxed()
    }

    fn shutdown<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        async move {
            self.known(id).await?;
            self.rest(id);
            self.shared.nodes.tell(id, word::SHUTDOWN);
            Ok(())
        }
        .boxed()
    }

    fn health<'a>(&'a self, id: &'a str) -> Doing<'a, Health> {
        async move {
            let record = self.cache.find(id).await.map_err(|error| trouble(&error))?;
            let record = record.ok_or(Trouble::Unknown)?;
            let Some(project) = self.running(id) else {
                let healthy = record.migrations_ran > 0 || record.suspend;
                if !healthy && let Err(error) = Box::pin(self.install(&record)).await {
                    tracing::warn!(code = %ErrorCode::MigrationsFailedToRun, tenant = id,
                        error = reason(&error),
                        "the tenant's database is not ready"
                    );
                }
                return Ok(Health { healthy, connected: false, streaming: false, users: 0 });
            };
            let users = project.services.tenant.meters.all_users();
            if project.rests() {
                let healthy = users == 0;
                return Ok(Health { healthy, connected: false, streaming: false, users });
            }
            let connected = answers(&project.pool).await;
            let streaming = connected && project.stream().is_live();
            Ok(Health { healthy: connected, connected, streaming, users })
        }
        .boxed()
    }
}

impl Projects {
    async fn known(&self, id: &str) -> Result<(), Trouble> {
        match self.cache.find(id).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Trouble::Unknown),
            Err(error) => Err(trouble(&error)),
        }
    }
}

fn trouble(error: &StoreError) -> Trouble {
    let is_transient = error.is_transient();
    let reason = reason(error);
    tracing::warn!(code = %ErrorCode::ErrorRunningQuery, error = reason, "the control database did not do what an operator asked for");
    if is_transient { Trouble::Unavailable } else { Trouble::Failed }
}
