//! Whether tenants are in a control database, and how it is used.

use std::sync::Arc;

use super::{ConfigError, ControlSettings, Resolved, parse::parse_bool};
use crate::{
    secret::Secret,
    tenants::{
        crypto::{KeyError, Vault},
        store::Seed,
    },
};

impl Resolved {
    /// How the control database is used; nothing if there is the one tenant only.
    /// `jwt_secret` is that of the tenant that may be made at start.
    pub(super) fn control(
        &self,
        jwt_secret: Option<&Secret>,
    ) -> Result<Option<ControlSettings>, ConfigError> {
        let (ecb, gcm) = (self.secret("DB_ENC_KEY"), self.secret("DB_ENC_KEY_GCM"));
        let is_wanted = match self.value("ROWCAST_TENANTS") {
            Some("database") => true,
            Some("one") => false,
            _ => ecb.is_some() || gcm.is_some(),
        };
        if !is_wanted {
            return Ok(None);
        }
        let write_gcm = self.value("DB_ENC_WRITE_GCM").and_then(parse_bool);
        let vault =
            Vault::new(ecb.as_ref(), gcm.as_ref(), write_gcm).map_err(|error| wrong(&error))?;
        let seed = self.flag("SEED_SELF_HOST")?.then(|| self.seed(jwt_secret)).transpose()?;
        Ok(Some(ControlSettings {
            vault: Arc::new(vault),
            after_connect: self.value("DB_AFTER_CONNECT_QUERY").map(str::to_owned),
            cache_ttl: self.millis("TENANT_CACHE_EXPIRATION_IN_MS")?,
            max_tenants: self.parsed("ROWCAST_MAX_TENANTS")?,
            idle: self.millis("ROWCAST_TENANT_IDLE_MS")?,
            seed,
        }))
    }

    fn seed(&self, jwt_secret: Option<&Secret>) -> Result<Seed, ConfigError> {
        Ok(Seed {
            external_id: self.parsed("SELF_HOST_TENANT_NAME")?,
            jwt_secret: jwt_secret.cloned(),
            jwt_jwks: self.secret("API_JWT_JWKS"),
            database: self.database()?,
        })
    }
}

fn wrong(error: &KeyError) -> ConfigError {
    match error {
        KeyError::Length { name, found, wanted } => ConfigError::Invalid {
            name: (*name).to_owned(),
            value: format!("a text of {found} bytes"),
            expected: format!("one of {wanted}"),
        },
        KeyError::Missing(text) => ConfigError::Conflict((*text).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{
        super::{Overrides, Settings},
        *,
    };

    fn load(
        values: &[(&'static str, &'static str)],
    ) -> Result<Option<ControlSettings>, ConfigError> {
        let mut strings: BTreeMap<&str, &str> = values.iter().copied().collect();
        strings.insert("API_JWT_SECRET", "s");
        Settings::load(&strings, &Overrides::default()).map(|settings| settings.control)
    }

    const ECB: (&str, &str) = ("DB_ENC_KEY", "supabaserealtime");

    #[test]
    fn a_key_is_enough() {
        assert!(load(&[]).unwrap().is_none());
        assert!(load(&[ECB, ("ROWCAST_TENANTS", "one")]).unwrap().is_none());
        let control = load(&[ECB]).unwrap().unwrap();
        assert_eq!(control.after_connect.as_deref(), Some("SET search_path TO _realtime"));
        assert_eq!(control.cache_ttl, Duration::from_secs(30));
        assert!(!control.vault.writes_gcm() && control.seed.is_none());
    }

    #[test]
    fn a_wrong_key_is_named_and_not_shown() {
        let error = |values| load(values).unwrap_err().to_string();
        assert_eq!(
            error(&[("DB_ENC_KEY_GCM", "hunter2")]),
            "DB_ENC_KEY_GCM is a text of 7 bytes, but should be one of 32"
        );
        assert_eq!(
            error(&[("ROWCAST_TENANTS", "database")]),
            "DB_ENC_KEY_GCM or DB_ENC_KEY must be set: secrets of tenants are encrypted"
        );
    }

    #[test]
    fn a_tenant_may_be_made_of_the_settings() {
        let seed = [ECB, ("SEED_SELF_HOST", "true"), ("DB_HOST", "db"), ("DB_PASSWORD", "p")];
        let seed = load(&seed).unwrap().unwrap().seed.unwrap();
        assert_eq!((&*seed.external_id, &*seed.database.host), ("realtime-dev", "db"));
        assert_eq!(seed.jwt_secret, Some(Secret::new("s")));
    }
}
