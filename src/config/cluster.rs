//! How several servers meet, and what TLS the settings ask for.

use super::{ClusterSettings, ConfigError, resolve::Resolved};

impl Resolved {
    /// # Errors
    /// If settings contradict each other.
    pub(super) fn cluster(&self) -> Result<ClusterSettings, ConfigError> {
        let [ca, certificate, key] =
            ["ROWCAST_REDIS_CA_FILE", "ROWCAST_REDIS_CERT_FILE", "ROWCAST_REDIS_KEY_FILE"]
                .map(|name| self.value(name));
        let redis_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => {
                let text = "ROWCAST_REDIS_CERT_FILE and ROWCAST_REDIS_KEY_FILE need each other";
                return Err(ConfigError::Conflict(text.to_owned()));
            }
        };
        let redis_url = self.secret("ROWCAST_REDIS_URL");
        let has_tls = redis_url.as_ref().is_some_and(|url| {
            ["rediss", "valkeys"].iter().any(|scheme| url.expose().starts_with(scheme))
        });
        if (ca.is_some() || redis_certificate.is_some()) && !has_tls {
            let text =
                "certificates for Redis are set, but ROWCAST_REDIS_URL does not begin with rediss";
            return Err(ConfigError::Conflict(text.to_owned()));
        }
        Ok(ClusterSettings {
            redis_url,
            redis_ca: ca.map(Into::into),
            redis_certificate,
            redis_prefix: self.parsed("ROWCAST_REDIS_PREFIX")?,
            shares_changes: self.value("ROWCAST_CHANGES_MODE") != Some("slot-per-node"),
            log_bytes: self.parsed::<usize>("ROWCAST_CHANGES_LOG_MB")? << 20,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Overrides, Settings};

    fn load(values: &[(&'static str, &'static str)]) -> Result<ClusterSettings, String> {
        let mut strings: BTreeMap<&str, &str> = values.iter().copied().collect();
        strings.insert("API_JWT_SECRET", "s");
        let settings = Settings::load(&strings, &Overrides::default());
        settings.map(|settings| settings.cluster).map_err(|error| error.to_string())
    }

    #[test]
    fn certificates_need_tls_and_each_other() {
        let url = ("ROWCAST_REDIS_URL", "rediss-sentinel://h?master=m");
        let (ca, key) = (("ROWCAST_REDIS_CA_FILE", "/ca"), ("ROWCAST_REDIS_KEY_FILE", "/key"));
        let certificate = ("ROWCAST_REDIS_CERT_FILE", "/cert");
        let settings = load(&[url, ca, certificate, key]).unwrap();
        assert_eq!(settings.redis_ca, Some("/ca".into()));
        assert_eq!(settings.redis_certificate, Some(("/cert".into(), "/key".into())));
        assert!(load(&[url, key]).unwrap_err().ends_with("need each other"));
        let plain = ("ROWCAST_REDIS_URL", "redis://u:hunter2@h");
        let fault = load(&[plain, ca]).unwrap_err();
        assert!(fault.ends_with("does not begin with rediss") && !fault.contains("hunter2"));
        assert!(load(&[("ROWCAST_REDIS_URL", "redis+sentinel://u:hunter2@h")]).is_err());
    }
}
