//! Fills the plain settings from the resolved ones.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    ChangeSettings, ConfigError, DatabaseSettings, Guard, JanitorSettings, JwksUrl, Limits,
    ListenSettings, LogFormat, LogSettings, MessageSettings, Overrides, ReplicationSettings,
    Resolved, Settings, SocketSettings, TenantSettings, env::Strings, parse::parse_bool,
};
use crate::{
    auth::{
        jwks::{Jwks, JwksError},
        jwks_fetch,
    },
    chat,
    secret::Secret,
};

impl Settings {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(strings: &impl Strings, overrides: &Overrides) -> Result<Self, ConfigError> {
        Resolved::read(strings, overrides)?.settings()
    }
}

impl Resolved {
    /// The settings as plain values.
    ///
    /// # Errors
    /// If a secret is missing or settings contradict each other.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let (jwt_jwks, jwks_url) = (self.jwks()?, self.jwks_url()?);
        let jwt_secret = match self.jwt_secret() {
            Ok(secret) => Some(secret),
            Err(_) if jwt_jwks.is_some() || jwks_url.is_some() => None,
            Err(error) => return Err(error),
        };
        let admin: Vec<Secret> =
            [self.secret("API_JWT_SECRET"), self.secret("API_JWT_SECRET_NEXT")]
                .into_iter()
                .flatten()
                .collect();
        let metrics = self.secret("METRICS_JWT_SECRET").map_or_else(|| admin.clone(), |s| vec![s]);
        let address: IpAddr = self.parsed("ROWCAST_BIND")?;
        let control = self.control(jwt_secret.as_ref())?;
        Ok(Settings {
            listen: ListenSettings {
                address: SocketAddr::new(address, self.parsed("PORT")?),
                max_connections: self.parsed("MAX_CONNECTIONS")?,
                max_header_bytes: self.parsed("MAX_HEADER_LENGTH")?,
                handshake_timeout: self.millis("ROWCAST_HANDSHAKE_TIMEOUT_MS")?,
                max_body_bytes: self.parsed("ROWCAST_MAX_BODY_BYTES")?,
                body_timeout: self.millis("ROWCAST_BODY_TIMEOUT_MS")?,
                origins: self.origins()?,
                admin: self.value("ROWCAST_ADMIN_ADDRESS").and_then(|text| text.parse().ok()),
                tls: self.tls()?,
                baggage_key: self.parsed("REQUEST_ID_BAGGAGE_KEY")?,
                drain_timeout: self.millis("ROWCAST_DRAIN_TIMEOUT_MS")?,
                drain_window: self.millis("ROWCAST_DRAIN_WINDOW_MS")?,
            },
            database: DatabaseSettings {
                connect: self.database()?,
                pool_size: self.parsed("ROWCAST_DB_POOL_SIZE")?,
                pool_wait: self.millis("ROWCAST_DB_POOL_WAIT_MS")?,
                auto_migrate: self.flag("ROWCAST_AUTO_MIGRATE")?,
                create_roles: self.flag("ROWCAST_CREATE_ROLES")?,
            },
            tenant: TenantSettings {
                name: self.parsed("SELF_HOST_TENANT_NAME")?,
                strict_host: self.flag("ROWCAST_STRICT_HOST")?,
                jwt_secret,
                jwt_jwks,
                jwks_url,
                roles: self.list("ROWCAST_ALLOWED_ROLES"),
                claim_validators: self.object("JWT_CLAIM_VALIDATORS")?,
                limits: self.limits()?,
            },
            control,
            admin: Guard { secrets: admin, blocklist: self.secrets("API_TOKEN_BLOCKLIST") },
            metrics: Guard { secrets: metrics, blocklist: self.secrets("METRICS_TOKEN_BLOCKLIST") },
            sockets: SocketSettings {
                connect_error_backoff: self.millis("CONNECT_ERROR_BACKOFF_MS")?,
                channel_error_backoff: self.millis("CHANNEL_ERROR_BACKOFF_MS")?,
                no_channel_timeout: self.millis("NO_CHANNEL_TIMEOUT_IN_MS")?,
                idle_timeout: self.millis("ROWCAST_SOCKET_IDLE_MS")?,
                max_frame_bytes: self.parsed("ROWCAST_MAX_FRAME_BYTES")?,
                outbox_bytes: self.parsed("ROWCAST_OUTBOX_BYTES")?,
                waiting_bytes: self.parsed("ROWCAST_WAITING_BYTES")?,
            },
            cluster: self.cluster()?,
            replication: ReplicationSettings {
                slot_name: self.slot_name()?,
                slot_temporary: self.flag("ROWCAST_SLOT_TEMPORARY")?,
                publication: self.parsed("ROWCAST_PUBLICATION")?,
                wal_budget_bytes: self.parsed::<u64>("ROWCAST_WAL_BUDGET_MB")? << 20,
                max_record_bytes: self.parsed("ROWCAST_MAX_RECORD_BYTES")?,
                strict_deletes: self.value("ROWCAST_DELETE_VISIBILITY") != Some("compatible"),
                policy_timeout: self.millis("ROWCAST_POLICY_TIMEOUT_MS")?,
                policy_connections: self.parsed("ROWCAST_POLICY_CONNECTIONS")?,
            },
            messages: MessageSettings {
                broadcasts: self.flag("ROWCAST_DATABASE_BROADCASTS")?,
                retention: Duration::from_secs(
                    3600 * self.parsed::<u64>("ROWCAST_RETENTION_HOURS")?,
                ),
                janitor: self.flag("RUN_JANITOR")?.then(|| self.janitor()).transpose()?,
            },
            changes: ChangeSettings {
                drops_surplus: self.value("ROWCAST_CHANGES_OVER_LIMIT") == Some("drop"),
                keeps_partial: self.flag("ROWCAST_PARTIAL_BINDINGS")?,
                max_bindings: self.parsed("ROWCAST_MAX_BINDINGS_PER_CHANNEL")?,
                max_filters: self.parsed("ROWCAST_MAX_FILTERS_PER_BINDING")?,
                publication_check: self.millis("ROWCAST_PUBLICATION_CHECK_MS")?,
            },
            chat: self.chat()?,
            chat_shards: self.chat_shards()?,
            log: LogSettings {
                level: self.parsed("LOG_LEVEL")?,
                format: self.value("ROWCAST_LOG_FORMAT").map(|format| match format {
                    "json" => LogFormat::Json,
                    _ => LogFormat::Pretty,
                }),
            },
        })
    }

    fn chat(&self) -> Result<chat::Config, ConfigError> {
        Ok(chat::Config {
            mode: match self.value("ROWCAST_CHAT") {
                Some("on") => chat::Mode::On,
                Some("off") => chat::Mode::Off,
                _ => chat::Mode::Auto,
            },
            message_characters: self.parsed("ROWCAST_CHAT_MESSAGE_CHARACTERS")?,
            receipts_room_size: self.parsed("ROWCAST_CHAT_RECEIPTS_ROOM_SIZE")?,
            receipts_window: self.millis("ROWCAST_CHAT_RECEIPTS_MS")?,
            max_receipts: self.parsed("ROWCAST_CHAT_MAX_RECEIPTS")?,
            max_typing: self.parsed("ROWCAST_CHAT_MAX_TYPING")?,
            status_ttl: self.millis("ROWCAST_CHAT_STATUS_TTL_MS")?,
            max_statuses: self.parsed("ROWCAST_CHAT_MAX_STATUSES")?,
        })
    }

    /// The secret that signs clients' tokens.
    ///
    /// # Errors
    /// If there is none.
    pub fn jwt_secret(&self) -> Result<Secret, ConfigError> {
        self.secret("ROWCAST_JWT_SECRET").or_else(|| self.secret("API_JWT_SECRET")).ok_or(
            ConfigError::Missing {
                name: "API_JWT_SECRET",
                why: "it is the secret that signs the keys of clients",
            },
        )
    }

    fn jwks(&self) -> Result<Option<Jwks>, ConfigError> {
        let Some(text) = self.value("API_JWT_JWKS") else { return Ok(None) };
        let wrong = |error: JwksError| ConfigError::Invalid {
            name: "API_JWT_JWKS".to_owned(),
            value: format!("not usable ({error})"),
            expected: "a JSON Web Key Set such as {\"keys\":[…]}".to_owned(),
        };
        Jwks::parse_inline(text).map(Some).map_err(wrong)
    }

    fn jwks_url(&self) -> Result<Option<JwksUrl>, ConfigError> {
        let Some(url) = self.value("ROWCAST_JWKS_URL") else { return Ok(None) };
        let allow_http = self.flag("ROWCAST_JWKS_ALLOW_HTTP")?;
        jwks_fetch::check(url, allow_http)
            .map_err(|error| ConfigError::Conflict(format!("ROWCAST_JWKS_URL: {error}")))?;
        let refresh = self.millis("ROWCAST_JWKS_REFRESH_MS")?;
        Ok(Some(JwksUrl { url: url.to_owned(), allow_http, refresh }))
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            max_concurrent_users: self.parsed("TENANT_MAX_CONCURRENT_USERS")?,
            max_events_per_second: self.parsed("TENANT_MAX_EVENTS_PER_SECOND")?,
            max_joins_per_second: self.parsed("TENANT_MAX_JOINS_PER_SECOND")?,
            max_channels_per_client: self.parsed("TENANT_MAX_CHANNELS_PER_CLIENT")?,
            max_presence_events_per_second: self
                .parsed("ROWCAST_MAX_PRESENCE_EVENTS_PER_SECOND")?,
            client_presence_max_calls: self.parsed("CLIENT_PRESENCE_MAX_CALLS")?,
            client_presence_window: self.millis("CLIENT_PRESENCE_WINDOW_MS")?,
            max_payload_kb: self.parsed("ROWCAST_MAX_PAYLOAD_KB")?,
            presence_enabled: self.flag("ROWCAST_PRESENCE_ENABLED")?,
            private_only: self.flag("ROWCAST_PRIVATE_ONLY")?,
        })
    }

    fn janitor(&self) -> Result<JanitorSettings, ConfigError> {
        let spread = self.flag("JANITOR_SCHEDULE_RANDOMIZE")?;
        Ok(JanitorSettings {
            first: self.millis("JANITOR_RUN_AFTER_IN_MS")?,
            interval: self.millis("JANITOR_SCHEDULE_TIMER_IN_MS")?,
            jitter: if spread { Duration::from_secs(3600) } else { Duration::ZERO },
        })
    }

    /// The name of the tenant's replication slot.
    ///
    /// # Errors
    /// If it is too long.
    pub fn slot_name(&self) -> Result<String, ConfigError> {
        let mut name: String = self.parsed("ROWCAST_SLOT_NAME")?;
        if let Some(suffix) = self.value("SLOT_NAME_SUFFIX") {
            name = format!("{name}_{suffix}");
        }
        if name.len() > 63 {
            return Err(ConfigError::Conflict(format!(
                "ROWCAST_SLOT_NAME and SLOT_NAME_SUFFIX together are {} characters, but PostgreSQL allows 63",
                name.len()
            )));
        }
        Ok(name)
    }

    /// The values were checked when read, so an error here means that this
    /// file and the table of settings disagree; a test loads all of them.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, ConfigError> {
        self.value(name).and_then(|text| text.parse().ok()).ok_or(absent(name))
    }

    pub(super) fn millis(&self, name: &'static str) -> Result<Duration, ConfigError> {
        self.parsed(name).map(Duration::from_millis)
    }

    /// A setting that is `true` or `false`.
    ///
    /// # Errors
    /// If there is no such setting.
    pub fn flag(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.value(name).and_then(parse_bool).ok_or(absent(name))
    }

    fn object(&self, name: &'static str) -> Result<Map<String, Value>, ConfigError> {
        self.value(name).and_then(|text| serde_json::from_str(text).ok()).ok_or(absent(name))
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.value(name).map(Secret::new)
    }

    fn secrets(&self, name: &str) -> Vec<Secret> {
        self.list(name).iter().map(|text| Secret::new(text.as_str())).collect()
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let list = self.value(name).unwrap_or_default().split(',').map(str::trim);
        list.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }
}

fn absent(name: &'static str) -> ConfigError {
    ConfigError::Missing { name, why: "it has no default" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn load(values: &[(&'static str, &'static str)]) -> Result<Settings, ConfigError> {
        let strings: BTreeMap<&str, &str> = values.iter().copied().collect();
        Settings::load(&strings, &Overrides::default())
    }

    #[test]
    fn one_secret_is_enough() {
        let settings = load(&[("API_JWT_SECRET", "s")]).unwrap();
        assert_eq!(settings.listen.address, "0.0.0.0:4000".parse().unwrap());
        assert_eq!(settings.tenant.jwt_secret.as_ref().unwrap().expose(), "s");
        assert_eq!(settings.admin, settings.metrics);
        assert_eq!(settings.replication.slot_name, "rowcast_realtime_slot");
        assert_eq!(settings.replication.wal_budget_bytes, 4 << 30);
        assert_eq!(settings.log.format, None);
        assert!(!format!("{settings:?}").contains("\"s\""));
    }

    #[test]
    fn without_a_secret_the_error_says_which() {
        let error = load(&[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "API_JWT_SECRET is not set; it is the secret that signs the keys of clients"
        );
    }

    #[test]
    fn a_key_set_replaces_the_secret() {
        let settings = load(&[("API_JWT_JWKS", r#"{"keys":[]}"#)]).unwrap();
        assert_eq!(settings.tenant.jwt_secret, None);
        assert!(settings.admin.secrets.is_empty());
        let settings = load(&[("ROWCAST_JWKS_URL", "https://auth.test/jwks.json")]).unwrap();
        let url = settings.tenant.jwks_url.unwrap();
        assert_eq!((url.allow_http, url.refresh), (false, Duration::from_secs(600)));
    }

    #[test]
    fn unusable_key_sets_are_refused_at_the_start() {
        let error = |name, value| load(&[("API_JWT_SECRET", "s"), (name, value)]).unwrap_err();
        assert_eq!(
            error("API_JWT_JWKS", "{}").to_string(),
            "API_JWT_JWKS is not usable (not a JSON object with a list `keys`), but should be a JSON Web Key Set such as {\"keys\":[…]}"
        );
        assert_eq!(
            error("ROWCAST_JWKS_URL", "http://auth/jwks").to_string(),
            "ROWCAST_JWKS_URL: must begin with https://, or http:// with ROWCAST_JWKS_ALLOW_HTTP=true"
        );
        let error = error("ROWCAST_JWKS_URL", "https://u:hunter2@auth/").to_string();
        assert_eq!(error, "ROWCAST_JWKS_URL: must not contain a user or a password");
    }

    #[test]
    fn secrets_can_be_told_apart() {
        let settings = load(&[
            ("API_JWT_SECRET", "admin"),
            ("API_JWT_SECRET_NEXT", "next"),
            ("ROWCAST_JWT_SECRET", "clients"),
            ("METRICS_JWT_SECRET", "metrics"),
            ("API_TOKEN_BLOCKLIST", "a, b,"),
        ])
        .unwrap();
        assert_eq!(settings.tenant.jwt_secret.unwrap().expose(), "clients");
        assert_eq!(settings.admin.secrets.len(), 2);
        assert_eq!(settings.metrics.secrets, [Secret::new("metrics")]);
        assert_eq!(settings.admin.blocklist, [Secret::new("a"), Secret::new("b")]);
    }

    #[test]
    fn the_suffix_is_part_of_the_slots_name() {
        let values = [("API_JWT_SECRET", "s"), ("SLOT_NAME_SUFFIX", "blue")];
        assert_eq!(load(&values).unwrap().replication.slot_name, "rowcast_realtime_slot_blue");
        let long = "x123456789x123456789x123456789x123456789x123456789";
        assert!(load(&[("API_JWT_SECRET", "s"), ("SLOT_NAME_SUFFIX", long)]).is_err());
    }
}
