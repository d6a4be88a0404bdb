//! A tenant as the control database keeps it. Pure.
//!
//! [`Request`] is what an operator sends, [`Record`] what is stored, and
//! [`Record::resource`] what an operator is shown: never a secret, a key set or
//! where the database is. Fields, defaults and messages are those of Supabase
//! Realtime's tenants.

mod extension;
mod fields;
mod request;

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(super) use self::extension::ENCRYPTED;
pub use self::{
    extension::{Extension, POSTGRES},
    fields::Faults,
    request::Request,
};
use super::{Limits, Terms};
use crate::{
    auth::{Jwks, Keys},
    postgres::connect::ConnectConfig,
    secret::Secret,
};

/// What stands in for what a tenant does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Limits and flags.
    pub terms: Terms,
    /// `max_bytes_per_second`, which is kept but not enforced.
    pub max_bytes_per_second: i32,
}

impl From<Terms> for Defaults {
    fn from(terms: Terms) -> Self {
        Self { terms, max_bytes_per_second: 100_000 }
    }
}

/// One tenant. `Debug` shows no secrets.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its row.
    pub id: Uuid,
    /// What it is called everywhere: the first label of the host its clients use.
    pub external_id: String,
    /// A name for people.
    pub name: String,
    /// HMAC secret of its tokens.
    pub jwt_secret: Option<Secret>,
    /// Public keys of its tokens: the JSON text of an object. Hidden, because a
    /// set may hold symmetric keys too.
    pub jwt_jwks: Option<Secret>,
    /// Its limits as they are stored.
    pub quotas: Quotas,
    /// Refuse public channels.
    pub private_only: bool,
    /// Presence is on for every channel.
    pub presence_enabled: bool,
    /// Refuse everything.
    pub suspend: bool,
    /// How Supabase Realtime's nodes talk; without meaning here.
    pub broadcast_adapter: String,
    /// The type of the extension that is meant if there are several.
    pub postgres_cdc_default: String,
    /// Flags of Supabase Realtime for this tenant; without meaning here.
    pub feature_flags: Map<String, Value>,
    /// Migrations that were applied to its database.
    pub migrations_ran: i32,
    /// Its databases: one, or none yet.
    pub extensions: Vec<Extension>,
    /// When it was stored, `2026-01-31T12:00:00`; empty if it was not yet.
    pub inserted_at: String,
}

/// Limits as they are stored: negative ones allow nothing, none means the
/// server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of `Limits` and of the API")]
pub struct Quotas {
    pub max_concurrent_users: i32,
    pub max_events_per_second: i32,
    pub max_joins_per_second: i32,
    pub max_channels_per_client: i32,
    pub max_bytes_per_second: i32,
    pub max_presence_events_per_second: Option<i32>,
    pub max_payload_size_in_kb: Option<i32>,
    pub max_client_presence_events_per_window: Option<i32>,
    pub client_presence_window_ms: Option<i32>,
}

/// What another record of the same tenant asks of a running server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    /// Something is different.
    pub any: bool,
    /// All sockets are to go and come back: keys, `private_only` or `suspend`.
    pub drain: bool,
    /// Connections and the stream are to be opened anew: keys, `suspend` or the
    /// database.
    pub restart: bool,
}

impl Record {
    /// A tenant about which nothing is said yet.
    pub(super) fn blank(external_id: &str, defaults: &Defaults) -> Self {
        let Terms { limits, private_only, presence_enabled, suspended } = defaults.terms;
        Self {
            id: Uuid::new_v4(),
            external_id: external_id.to_owned(),
            name: external_id.to_owned(),
            jwt_secret: None,
            jwt_jwks: None,
            quotas: Quotas {
                max_concurrent_users: stored(limits.max_concurrent_users),
                max_events_per_second: stored(limits.max_events_per_second),
                max_joins_per_second: stored(limits.max_joins_per_second),
                max_channels_per_client: stored(limits.max_channels_per_client),
                max_bytes_per_second: defaults.max_bytes_per_second,
                max_presence_events_per_second: Some(stored(limits.max_presence_events_per_second)),
                max_payload_size_in_kb: Some(stored(limits.max_payload_size_in_kb)),
                max_client_presence_events_per_window: None,
                client_presence_window_ms: None,
            },
            private_only,
            presence_enabled,
            suspend: suspended,
            broadcast_adapter: "gen_rpc".to_owned(),
            postgres_cdc_default: POSTGRES.to_owned(),
            feature_flags: Map::new(),
            migrations_ran: 0,
            extensions: Vec::new(),
            inserted_at: String::new(),
        }
    }

    /// What the tenant may do; `defaults` stand in for what it does not say.
    pub fn terms(&self, defaults: &Defaults) -> Terms {
        let (quotas, usual) = (&self.quotas, &defaults.terms.limits);
        let window = quotas.client_presence_window_ms.map(amount).map(Duration::from_millis);
        Terms {
            limits: Limits {
                max_concurrent_users: amount(quotas.max_concurrent_users),
                max_events_per_second: amount(quotas.max_events_per_second),
                max_joins_per_second: amount(quotas.max_joins_per_second),
                max_channels_per_client: amount(quotas.max_channels_per_client),
                max_presence_events_per_second: quotas
                    .max_presence_events_per_second
                    .map_or(usual.max_presence_events_per_second, amount),
                max_payload_size_in_kb: quotas
                    .max_payload_size_in_kb
                    .map_or(usual.max_payload_size_in_kb, amount),
                client_presence_max_calls: quotas
                    .max_client_presence_events_per_window
                    .map_or(usual.client_presence_max_calls, amount),
                client_presence_window: window.unwrap_or(usual.client_presence_window),
            },
            private_only: self.private_only,
            presence_enabled: self.presence_enabled,
            suspended: self.suspend,
        }
    }

    /// What its tokens are verified with; `required` are claims they must have.
    /// A key set that cannot be read counts as one without keys.
    pub fn keys(&self, required: Map<String, Value>) -> Keys {
        let jwks =
            self.jwt_jwks.as_ref().and_then(|text| Jwks::parse(text.expose().as_bytes()).ok());
        Keys::new(self.jwt_secret.as_ref().map(Secret::expose), jwks, required)
    }

    /// Its database's extension: that of the default type, or else any.
    pub fn extension(&self) -> Option<&Extension> {
        let usual = self.extensions.iter().find(|one| one.kind == self.postgres_cdc_default);
        usual.or_else(|| self.extensions.first())
    }

    /// How to reach its database; none if that is not said.
    pub fn connect(&self) -> Option<ConnectConfig> {
        self.extension()?.connect()
    }

    /// What it means for a running server that this is now what it was before.
    pub fn effects(&self, before: &Self) -> Effects {
        let keys = (&self.jwt_secret, &self.jwt_jwks) != (&before.jwt_secret, &before.jwt_jwks);
        let suspend = self.suspend != before.suspend;
        let database = self.extensions != before.extensions
            || self.postgres_cdc_default != before.postgres_cdc_default;
        let private = self.private_only != before.private_only;
        let other = (&self.name, self.quotas, self.presence_enabled, self.migrations_ran)
            != (&before.name, before.quotas, before.presence_enabled, before.migrations_ran)
            || (&self.broadcast_adapter, &self.feature_flags)
                != (&before.broadcast_adapter, &before.feature_flags);
        Effects {
            any: keys || suspend || database || private || other,
            drain: keys || suspend || private,
            restart: keys || suspend || database,
        }
    }

    /// As operators see it.
    pub fn resource(&self) -> Value {
        let quotas = &self.quotas;
        json!({
            "id": self.id,
            "external_id": self.external_id,
            "name": self.name,
            "max_concurrent_users": quotas.max_concurrent_users,
            "max_channels_per_client": quotas.max_channels_per_client,
            "max_events_per_second": quotas.max_events_per_second,
            "max_joins_per_second": quotas.max_joins_per_second,
            "max_client_presence_events_per_window": quotas.max_client_presence_events_per_window,
            "client_presence_window_ms": quotas.client_presence_window_ms,
            "private_only": self.private_only,
            "presence_enabled": self.presence_enabled,
            "inserted_at": self.inserted_at,
            "extensions": self.extensions.iter().map(Extension::resource).collect::<Vec<_>>(),
        })
    }
}

/// A limit as a column can hold it.
fn stored<T: TryInto<i32>>(limit: T) -> i32 {
    limit.try_into().unwrap_or(i32::MAX)
}

/// A stored limit as an amount.
fn amount<T: TryFrom<i32> + Default>(stored: i32) -> T {
    T::try_from(stored).unwrap_or_default()
}

#[cfg(test)]
mod tests;
