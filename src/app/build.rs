//! Parts of a project, made from the settings.

use std::{sync::Arc, time::Duration};

use super::AppError;
use crate::{
    auth::{JwksSource, Keys, Roles, jwks_fetch::Address, jwks_source},
    config::{self, Settings},
    postgres::{
        connect::ConnectConfig,
        pool::{Pool, PoolConfig},
        session::SessionConfig,
    },
    postgres_changes::{self, DeleteVisibility, PostgresChanges, RowSecurity, Surplus},
    replication::{self, Publication},
    runtime::Drain,
    secret::Secret,
    session,
    tenants::{Limits, Tenant, Terms, janitor},
};

/// Longest statement that sets itself no limit, such as a look at the catalog.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn pool_of(settings: &Settings, connect: &ConnectConfig, size: usize) -> Pool {
    Pool::new(PoolConfig {
        connect: connect.clone(),
        size,
        wait: settings.database.pool_wait,
        session: SessionConfig {
            statement_timeout: Some(STATEMENT_TIMEOUT),
            ..SessionConfig::new("rowcast")
        },
    })
}

pub(super) fn changes(
    settings: &Settings,
    pool: Pool,
    judges: Pool,
    tenant: &Arc<Tenant>,
    metrics: &postgres_changes::Metrics,
) -> PostgresChanges {
    let wanted = &settings.changes;
    let config = postgres_changes::Config {
        publication: settings.replication.publication.as_str().into(),
        max_record_bytes: settings.replication.max_record_bytes,
        tenant: Some(Arc::clone(tenant)),
        surplus: match wanted.drops_surplus {
            true => Surplus::Drop,
            false => Surplus::Keep,
        },
        max_bindings: wanted.max_bindings,
        max_filters: wanted.max_filters,
        keeps_partial: wanted.keeps_partial,
        publication_check: wanted.publication_check,
        metrics: metrics.clone(),
        row_security: RowSecurity {
            timeout: settings.replication.policy_timeout,
            connections: settings.replication.policy_connections,
            deletes: match settings.replication.strict_deletes {
                true => DeleteVisibility::Strict,
                false => DeleteVisibility::Compatible,
            },
        },
    };
    PostgresChanges::new(config, pool, judges)
}

pub(super) fn stream(settings: &Settings) -> replication::Config {
    let wanted = &settings.replication;
    let mut publications = vec![Publication::of_the_user(wanted.publication.as_str())];
    if settings.messages.broadcasts {
        publications.push(Publication::messages());
    }
    replication::Config {
        tenant: settings.tenant.name.clone(),
        slot_name: wanted.slot_name.clone(),
        temporary: wanted.slot_temporary,
        publications,
        wal_budget_bytes: Some(wanted.wal_budget_bytes),
        ..replication::Config::new(settings.database.connect.clone())
    }
}

pub(super) fn janitor(settings: &Settings) -> Option<janitor::Config> {
    let wanted = settings.messages.janitor?;
    Some(janitor::Config {
        connect: settings.database.connect.clone(),
        tenant: settings.tenant.name.clone(),
        retention: settings.messages.retention,
        first: wanted.first,
        interval: wanted.interval,
        jitter: wanted.jitter,
    })
}

/// The keys as set up; those at a URL are fetched from now on.
pub(super) fn keys(
    settings: &config::TenantSettings,
    login: &str,
    drain: &Drain,
) -> Result<Keys, AppError> {
    let jwks = settings.jwt_jwks.clone();
    if let Some(jwks) = &jwks {
        jwks.warn_of_skipped();
    }
    let secret = settings.jwt_secret.as_ref().map(Secret::expose);
    let keys = Keys::new(secret, jwks, settings.claim_validators.clone())
        .with_roles(Roles::new(&settings.roles, login));
    let Some(published) = &settings.jwks_url else { return Ok(keys) };
    let address = Address::new(&published.url, published.allow_http)?;
    let config = jwks_source::Config::every(published.refresh);
    let source = Arc::new(JwksSource::new(address, config));
    drain.spawn("jwks", Arc::clone(&source).run(drain.clone()));
    Ok(keys.with_source(source))
}

/// What the tenant of the settings may do; for many, what stands in for what
/// one of them does not say.
pub(super) fn terms(settings: &config::TenantSettings) -> Terms {
    let wanted = &settings.limits;
    let limits = Limits {
        max_concurrent_users: usize::try_from(wanted.max_concurrent_users).unwrap_or(usize::MAX),
        max_events_per_second: wanted.max_events_per_second,
        max_joins_per_second: wanted.max_joins_per_second,
        max_channels_per_client: usize::try_from(wanted.max_channels_per_client)
            .unwrap_or(usize::MAX),
        max_presence_events_per_second: wanted.max_presence_events_per_second,
        max_payload_size_in_kb: usize::try_from(wanted.max_payload_kb).unwrap_or(usize::MAX),
        client_presence_max_calls: u32::try_from(wanted.client_presence_max_calls)
            .unwrap_or(u32::MAX),
        client_presence_window: wanted.client_presence_window,
    };
    Terms {
        limits,
        private_only: wanted.private_only,
        presence_enabled: wanted.presence_enabled,
        suspended: false,
    }
}

pub(super) fn sockets(settings: &config::SocketSettings) -> session::Config {
    session::Config {
        idle_timeout: settings.idle_timeout,
        no_channel_timeout: settings.no_channel_timeout,
        channel_error_backoff: settings.channel_error_backoff,
        outbox_bytes: settings.outbox_bytes,
        waiting_bytes: settings.waiting_bytes,
        ..session::Config::default()
    }
}
