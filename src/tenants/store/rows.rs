//! Tenants as rows of the control database, there and back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{StoreError, Tx};
use crate::{
    postgres::pool::Row,
    secret::Secret,
    tenants::{
        crypto::{CryptoError, Vault},
        record::{ENCRYPTED, Extension, POSTGRES, Quotas, Record},
    },
};

/// Reads tenants in the order of [`record`]; a condition may follow.
pub(super) const SELECT: &str = "select id, external_id, coalesce(name, external_id), jwt_secret, \
    jwt_jwks, max_concurrent_users, max_events_per_second, max_joins_per_second, \
    max_channels_per_client, max_bytes_per_second, max_presence_events_per_second, \
    max_payload_size_in_kb, max_client_presence_events_per_window, client_presence_window_ms, \
    coalesce(private_only, false), coalesce(presence_enabled, false), coalesce(suspend, false), \
    coalesce(broadcast_adapter, 'gen_rpc')::text, coalesce(postgres_cdc_default, '')::text, \
    feature_flags, coalesce(migrations_ran, 0), \
    to_char(inserted_at, 'YYYY-MM-DD\"T\"HH24:MI:SS'), \
    coalesce((select jsonb_agg(jsonb_build_object('type', type, 'settings', settings, \
      'inserted_at', to_char(inserted_at, 'YYYY-MM-DD\"T\"HH24:MI:SS'), \
      'updated_at', to_char(updated_at, 'YYYY-MM-DD\"T\"HH24:MI:SS')) order by inserted_at, id) \
      from extensions where tenant_external_id = external_id), '[]') \
    from tenants";

/// The columns that [`write()`] sets, beside the keys and the times.
const COLUMNS: [&str; 19] = [
    "name",
    "jwt_secret",
    "jwt_jwks",
    "max_concurrent_users",
    "max_events_per_second",
    "max_joins_per_second",
    "max_channels_per_client",
    "max_bytes_per_second",
    "max_presence_events_per_second",
    "max_payload_size_in_kb",
    "max_client_presence_events_per_window",
    "client_presence_window_ms",
    "private_only",
    "presence_enabled",
    "suspend",
    "broadcast_adapter",
    "postgres_cdc_default",
    "feature_flags",
    "migrations_ran",
];

/// A row as a record. Without keys it has no secrets.
pub(super) fn record(row: &Row, vault: Option<&Vault>) -> Result<Record, StoreError> {
    let external_id: String = row.get::<_, Option<String>>(1).unwrap_or_default();
    let unreadable =
        |what, source| StoreError::Unreadable { external_id: external_id.clone(), what, source };
    let open = |sealed: Option<String>| match (vault, sealed) {
        (Some(vault), Some(sealed)) => vault.open(&sealed).map(Some),
        _ => Ok(None),
    };
    let jwks = row.get::<_, Option<Value>>(4).filter(|_| vault.is_some());
    let stored: Value = row.get(22);
    let extensions = stored.as_array().map_or(&[][..], Vec::as_slice).iter();
    let extensions = extensions.map(|stored| extension(stored, vault));
    Ok(Record {
        id: row.get(0),
        name: row.get::<_, Option<String>>(2).unwrap_or_default(),
        jwt_secret: open(row.get(3)).map_err(|error| unreadable("jwt_secret", error))?,
        jwt_jwks: jwks.filter(Value::is_object).map(|set| Secret::new(set.to_string())),
        quotas: Quotas {
            max_concurrent_users: row.get(5),
            max_events_per_second: row.get(6),
            max_joins_per_second: row.get(7),
            max_channels_per_client: row.get(8),
            max_bytes_per_second: row.get(9),
            max_presence_events_per_second: row.get(10),
            max_payload_size_in_kb: row.get(11),
            max_client_presence_events_per_window: row.get(12),
            client_presence_window_ms: row.get(13),
        },
        private_only: row.get(14),
        presence_enabled: row.get(15),
        suspend: row.get(16),
        broadcast_adapter: row.get(17),
        postgres_cdc_default: Some(row.get::<_, String>(18))
            .filter(|kind| !kind.is_empty())
            .unwrap_or_else(|| POSTGRES.to_owned()),
        feature_flags: match row.get(19) {
            Some(Value::Object(flags)) => flags,
            _ => Map::new(),
        },
        migrations_ran: row.get(20),
        inserted_at: row.get(21),
        extensions: extensions
            .collect::<Result<_, _>>()
            .map_err(|(what, error)| unreadable(what, error))?,
        external_id,
    })
}

fn extension(
    stored: &Value,
    vault: Option<&Vault>,
) -> Result<Extension, (&'static str, CryptoError)> {
    let text = |name| stored.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut settings =
        stored.get("settings").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut secrets = BTreeMap::new();
    for name in ENCRYPTED {
        if let (Some(Value::String(sealed)), Some(vault)) = (settings.remove(name), vault) {
            secrets.insert(name, vault.open(&sealed).map_err(|error| (name, error))?);
        }
    }
    Ok(Extension {
        kind: text("type"),
        settings,
        secrets,
        inserted_at: text("inserted_at"),
        updated_at: text("updated_at"),
    })
}

/// Writes a record: a new row, or the one that it has already. Its extensions
/// replace those that there were; whatever is secret is encrypted anew.
pub(super) async fn write(
    tx: &Tx,
    record: &Record,
    is_new: bool,
    vault: &Vault,
) -> Result<(), StoreError> {
    let sealing = |source| StoreError::Unwritable(source);
    let secret = record.jwt_secret.as_ref().map(|secret| vault.seal(secret.expose()));
    let secret = secret.transpose().map_err(sealing)?;
    let jwks: Option<Value> =
        record.jwt_jwks.as_ref().and_then(|text| serde_json::from_str(text.expose()).ok());
    let flags = Value::Object(record.feature_flags.clone());
    let quotas = &record.quotas;
    let is_gcm = vault.writes_gcm();
    let sql = if is_new { insert() } else { update() };
    tx.lease
        .query(
            &sql,
            &[
                &record.id,
                &record.external_id,
                &is_gcm,
                &record.name,
                &secret,
                &jwks,
                &quotas.max_concurrent_users,
                &quotas.max_events_per_second,
                &quotas.max_joins_per_second,
                &quotas.max_channels_per_client,
                &quotas.max_bytes_per_second,
                &quotas.max_presence_events_per_second,
                &quotas.max_payload_size_in_kb,
                &quotas.max_client_presence_events_per_window,
                &quotas.client_presence_window_ms,
                &record.private_only,
                &record.presence_enabled,
                &record.suspend,
                &record.broadcast_adapter,
                &record.postgres_cdc_default,
                &flags,
                &record.migrations_ran,
            ],
        )
        .await?;
    write_extensions(tx, record, vault).await
}

async fn write_extensions(tx: &Tx, record: &Record, vault: &Vault) -> Result<(), StoreError> {
    let name = &record.external_id;
    tx.lease.query("delete from extensions where tenant_external_id = $1", &[name]).await?;
    for extension in &record.extensions {
        let mut settings = extension.settings.clone();
        for (setting, secret) in &extension.secrets {
            let sealed = vault.seal(secret.expose()).map_err(StoreError::Unwritable)?;
            settings.insert((*setting).to_owned(), json!(sealed));
        }
        let time = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        // What stays keeps its times.
        let (inserted, updated) = (time(&extension.inserted_at), time(&extension.updated_at));
        tx.lease
            .query(
                "insert into extensions \
                 (id, type, settings, tenant_external_id, inserted_at, updated_at) \
                 values ($1, $2, $3, $4, \
                   coalesce($5::text::timestamp, now() at time zone 'utc'), \
                   coalesce($6::text::timestamp, now() at time zone 'utc'))",
                &[
                    &Uuid::new_v4(),
                    &extension.kind,
                    &Value::Object(settings),
                    name,
                    &inserted,
                    &updated,
                ],
            )
            .await?;
    }
    Ok(())
}

/// `$1` and `$2` are the keys, `$3` says whether all is under AES-256-GCM, the
/// columns follow.
fn insert() -> String {
    let values: Vec<String> = (4..COLUMNS.len() + 4).map(|n| format!("${n}")).collect();
    format!(
        "insert into tenants (id, external_id, gcm_migrated_at, {}, inserted_at, updated_at) \
         values ($1, $2, case when $3 then now() at time zone 'utc' end, {}, \
         now() at time zone 'utc', now() at time zone 'utc')",
        COLUMNS.join(", "),
        values.join(", ")
    )
}

fn update() -> String {
    let sets: Vec<String> =
        COLUMNS.iter().zip(4..).map(|(column, n)| format!("{column} = ${n}")).collect();
    format!(
        "update tenants set {}, updated_at = now() at time zone 'utc', gcm_migrated_at = \
         case when $3 then coalesce(gcm_migrated_at, now() at time zone 'utc') end \
         where id = $1 and external_id = $2",
        sets.join(", ")
    )
}
