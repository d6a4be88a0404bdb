//! Who may call and how, as far as settings depend on each other.

use std::path::PathBuf;

use super::{ConfigError, resolve::Resolved};

impl Resolved {
    /// # Errors
    /// If one file is named without the other.
    pub(super) fn tls(&self) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        match (self.value("ROWCAST_TLS_CERT"), self.value("ROWCAST_TLS_KEY")) {
            (Some(certificate), Some(key)) => Ok(Some((certificate.into(), key.into()))),
            (None, None) => Ok(None),
            _ => {
                let text = "ROWCAST_TLS_CERT and ROWCAST_TLS_KEY need each other";
                Err(ConfigError::Conflict(text.to_owned()))
            }
        }
    }

    /// # Errors
    /// If one of them is none: it would never fit, and nobody would know why.
    pub(super) fn origins(&self) -> Result<Vec<String>, ConfigError> {
        let name = "ROWCAST_ALLOWED_ORIGINS";
        let origins = self.list(name);
        match origins.iter().find(|origin| !is_origin(origin)) {
            Some(wrong) => Err(ConfigError::Invalid {
                name: name.to_owned(),
                value: format!("{wrong:?}"),
                expected: "origins such as https://app.example.com, without a path".to_owned(),
            }),
            None => Ok(origins),
        }
    }
}

/// `scheme://host`, perhaps with a port, or with `*.` before the host.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_plain =
        |text: &str| !text.is_empty() && !text.contains(['/', '*', ' ', '?', '#', '@', '\\']);
    is_plain(scheme) && is_plain(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{ListenSettings, Overrides, Settings};

    fn load(values: &[(&'static str, &'static str)]) -> Result<ListenSettings, String> {
        let mut strings: BTreeMap<&str, &str> = values.iter().copied().collect();
        strings.insert("API_JWT_SECRET", "s");
        let settings = Settings::load(&strings, &Overrides::default());
        settings.map(|settings| settings.listen).map_err(|error| error.to_string())
    }

    #[test]
    fn certificate_and_key_need_each_other() {
        let (certificate, key) = (("ROWCAST_TLS_CERT", "/c"), ("ROWCAST_TLS_KEY", "/k"));
        assert_eq!(load(&[certificate, key]).unwrap().tls, Some(("/c".into(), "/k".into())));
        assert!(load(&[key]).unwrap_err().ends_with("need each other"));
        assert!(load(&[("ROWCAST_ADMIN_ADDRESS", "4001")]).unwrap_err().contains("with a port"));
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        let name = "ROWCAST_ALLOWED_ORIGINS";
        let list = "https://a.test, https://*.b.test,http://localhost:3000";
        assert_eq!(load(&[(name, list)]).unwrap().origins.len(), 3);
        assert!(load(&[]).unwrap().origins.is_empty());
        for wrong in ["a.test", "https://a.test/", "*", "https://", "https://a.*.test"] {
            assert!(load(&[(name, wrong)]).unwrap_err().contains("origins such as"), "{wrong}");
        }
    }
}
