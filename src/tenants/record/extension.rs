//! A tenant's database as the control database knows it: an "extension" of
//! type `postgres_cdc_rls` and its settings.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    postgres::connect::{ConnectConfig, SslMode},
    secret::Secret,
};

/// The one type there is.
pub const POSTGRES: &str = "postgres_cdc_rls";

/// Settings without which there is no database; the first is not encrypted.
const REQUIRED: [&str; 6] = ["region", "db_host", "db_port", "db_name", "db_user", "db_password"];

/// Settings that are stored encrypted and never shown.
pub(in crate::tenants) const ENCRYPTED: [&str; 5] =
    ["db_host", "db_port", "db_name", "db_user", "db_password"];

/// An extension. Two are equal if they say the same, whenever they were stored.
#[derive(Debug, Clone)]
pub struct Extension {
    /// `postgres_cdc_rls`, or what another server stored.
    pub kind: String,
    /// The settings that are no secrets, by the original's names.
    pub settings: Map<String, Value>,
    /// Those that are: `db_host`, `db_port`, `db_name`, `db_user`, `db_password`.
    pub secrets: BTreeMap<&'static str, Secret>,
    /// When it was stored, `2026-01-31T12:00:00`; empty if it was not yet.
    pub inserted_at: String,
    /// When it was changed, likewise.
    pub updated_at: String,
}

impl PartialEq for Extension {
    fn eq(&self, other: &Self) -> bool {
        (&self.kind, &self.settings, &self.secrets)
            == (&other.kind, &other.settings, &other.secrets)
    }
}

impl Extension {
    /// An extension as it was sent. Settings that are left out get the
    /// original's defaults.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as an object of lists of texts.
    pub(super) fn parse(sent: &Value) -> Result<Self, Value> {
        let kind = match sent.get("type") {
            Some(Value::String(kind)) if matches!(kind.as_str(), "postgres" | POSTGRES) => POSTGRES,
            None | Some(Value::Null) => return Err(json!({ "type": ["can't be blank"] })),
            Some(_) => return Err(json!({ "type": ["is invalid"] })),
        };
        let given = match sent.get("settings") {
            Some(Value::Object(given)) => given,
            None | Some(Value::Null) => return Err(json!({ "settings": ["can't be blank"] })),
            Some(_) => return Err(json!({ "settings": ["is invalid"] })),
        };
        let faults: Vec<String> = REQUIRED.iter().filter_map(|name| fault(name, given)).collect();
        if !faults.is_empty() {
            return Err(json!({ "settings": faults }));
        }
        let (mut settings, mut secrets) = (defaults(), BTreeMap::new());
        for (name, value) in given {
            if let Some(name) = ENCRYPTED.iter().find(|secret| *secret == name) {
                secrets.insert(*name, Secret::new(value.as_str().unwrap_or_default()));
                continue;
            }
            // Its column in the original is misspelt; the API's name is not.
            let name = match name.as_str() {
                "postgres_changes_pool" => "subcriber_pool_size",
                name => name,
            };
            settings.insert(name.to_owned(), value.clone());
        }
        let (inserted_at, updated_at) = Default::default();
        Ok(Self { kind: kind.to_owned(), settings, secrets, inserted_at, updated_at })
    }

    /// How to reach the database; none if a setting is missing or the port is
    /// no port. `ssl_enforced` asks for TLS without saying whose certificate;
    /// without it, TLS is used if offered.
    pub fn connect(&self) -> Option<ConnectConfig> {
        let text = |name| self.secrets.get(name).map(|text| text.expose().to_owned());
        let enforced = self.settings.get("ssl_enforced") != Some(&Value::Bool(false));
        Some(ConnectConfig {
            host: text("db_host")?,
            port: text("db_port")?.trim().parse().ok()?,
            user: text("db_user")?,
            password: text("db_password").filter(|password| !password.is_empty()),
            database: text("db_name")?,
            ssl_mode: if enforced { SslMode::Require } else { SslMode::Prefer },
            ssl_root_cert: None,
        })
    }

    /// The publication whose tables may be subscribed to.
    pub fn publication(&self) -> &str {
        self.settings.get("publication").and_then(Value::as_str).unwrap_or("supabase_realtime")
    }

    /// Bytes of a row that is sent in full.
    pub fn max_record_bytes(&self) -> usize {
        let bytes = self.settings.get("poll_max_record_bytes").and_then(Value::as_u64);
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(1_048_576)
    }

    /// Connections for queries, if it says how many.
    pub fn pool_size(&self) -> Option<usize> {
        let size = self.settings.get("db_pool").and_then(Value::as_u64)?;
        usize::try_from(size).ok().filter(|size| *size > 0)
    }

    /// As operators see it.
    pub(super) fn resource(&self) -> Value {
        json!({
            "type": self.kind,
            "settings": self.settings,
            "inserted_at": self.inserted_at,
            "updated_at": self.updated_at,
        })
    }
}

/// What is wrong with a required setting.
fn fault(name: &str, given: &Map<String, Value>) -> Option<String> {
    match given.get(name) {
        None | Some(Value::Null) => Some(format!("{name} can't be blank")),
        // Nobody has a database without a host; a user may have no password.
        Some(Value::String(text)) if name != "db_password" && text.trim().is_empty() => {
            Some(format!("{name} can't be blank"))
        }
        Some(Value::String(text)) if text.contains('\0') => Some(format!("{name} is invalid")),
        Some(Value::String(text)) if name == "db_port" => {
            let port = text.trim().parse::<u16>();
            (!port.is_ok_and(|port| port > 0)).then(|| "db_port is invalid".to_owned())
        }
        Some(Value::String(_)) => None,
        Some(_) => Some(format!("{name} is invalid")),
    }
}

fn defaults() -> Map<String, Value> {
    let defaults = [
        ("poll_interval_ms", json!(100)),
        ("poll_max_changes", json!(100)),
        ("poll_max_record_bytes", json!(1_048_576)),
        ("publication", json!("supabase_realtime")),
        ("slot_name", json!("supabase_realtime_replication_slot")),
    ];
    defaults.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
