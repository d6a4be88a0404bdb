//! The one tenant of a server whose settings describe it.
//!
//! Changes are kept in memory: a restart goes back to the settings. Tenants are
//! neither made nor deleted here, and secrets and the database come from the
//! settings alone.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::ready};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Doing, Health, Operator, Stored, Trouble, record::Record};
use crate::{
    postgres::pool::Pool,
    replication::status::Handle,
    runtime::clock,
    session::Services,
    tenants::{Tenant, Terms},
};

/// The database may take this long to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// The tenant and what leads to its database.
#[derive(Debug)]
pub struct One {
    services: Arc<Services>,
    pool: Pool,
    stream: Handle,
    id: Uuid,
    since: String,
    defaults: Terms,
    record: Mutex<Record>,
}

impl One {
    /// The tenant of `services`, with the terms it has now; `pool` and `stream`
    /// lead to its database.
    pub fn new(services: Arc<Services>, pool: Pool, stream: Handle) -> Self {
        let (id, since) = (Uuid::new_v4(), clock::iso8601(clock::unix_time()));
        let defaults = services.tenant.terms();
        let record = Mutex::new(Record::new(defaults));
        Self { services, pool, stream, id, since, defaults, record }
    }

    fn resource(&self, record: &Record) -> Value {
        let name = &*self.services.tenant.name;
        let mut fields = record.resource();
        fields.insert("id".to_owned(), json!(self.id));
        fields.insert("external_id".to_owned(), json!(name));
        fields.insert("name".to_owned(), json!(name));
        fields.insert("inserted_at".to_owned(), json!(self.since));
        fields.insert("extensions".to_owned(), json!([]));
        Value::Object(fields)
    }

    fn record(&self) -> Record {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, id: &str) -> Result<(), Trouble> {
        let is_known = *self.services.tenant.name == *id;
        if is_known { Ok(()) } else { Err(Trouble::Unknown) }
    }

    fn change(&self, id: &str, body: &Value) -> Result<Stored, Trouble> {
        self.known(id)?;
        let changes = body.get("tenant").and_then(Value::as_object).ok_or_else(|| {
            let fault = ("tenant".to_owned(), json!(["can't be blank"]));
            Trouble::Invalid([fault].into_iter().collect())
        })?;
        let record = {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            *record = record.changed(changes, &self.defaults).map_err(Trouble::Invalid)?;
            // Under the lock, so that of two changes the last one is in force.
            self.services.tenant.change(record.terms);
            *record
        };
        let fields: Vec<_> = changes.keys().collect();
        tracing::info!(tenant = %id, ?fields, "tenant changed");
        Ok(Stored { resource: self.resource(&record), created: false })
    }
}

/// Whether a database answers.
pub async fn answers(pool: &Pool) -> bool {
    let lease = tokio::time::timeout(PATIENCE, Box::pin(pool.checkout())).await;
    match lease {
        Ok(Ok(lease)) => lease.simple_query("").await.is_ok(),
        // Busy is alive.
        Ok(Err(_)) | Err(_) => pool.in_use() > 0,
    }
}

impl Operator for One {
    fn tenant(&self, id: &str) -> Option<Arc<Tenant>> {
        self.known(id).ok().map(|()| Arc::clone(&self.services.tenant))
    }

    fn list(&self) -> Doing<'_, Vec<Value>> {
        ready(Ok(vec![self.resource(&self.record())])).boxed()
    }

    fn show<'a>(&'a self, id: &'a str) -> Doing<'a, Value> {
        ready(self.known(id).map(|()| self.resource(&self.record()))).boxed()
    }

    fn put<'a>(&'a self, id: Option<&'a str>, body: &'a Value) -> Doing<'a, Stored> {
        ready(match id {
            Some(id) => self.change(id, body),
            None => Err(Trouble::NotHere),
        })
        .boxed()
    }

    fn delete<'a>(&'a self, _id: &'a str) -> Doing<'a, ()> {
        ready(Err(Trouble::NotHere)).boxed()
    }

    fn reload<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        ready(self.known(id).map(|()| self.services.tenant.disconnect_all())).boxed()
    }

    fn shutdown<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        let done = self.known(id).map(|()| {
            self.services.tenant.want_stream(false);
            self.pool.close_idle(Duration::ZERO);
        });
        ready(done).boxed()
    }

    fn health<'a>(&'a self, id: &'a str) -> Doing<'a, Health> {
        async move {
            self.known(id)?;
            let connected = answers(&self.pool).await;
            Ok(Health {
                healthy: connected,
                connected,
                streaming: connected && self.stream.is_live(),
                users: self.services.tenant.meters.all_users(),
            })
        }
        .boxed()
    }
}
