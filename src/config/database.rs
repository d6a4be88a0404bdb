//! Database URLs, and what TLS the settings ask for.

use std::str::Utf8Error;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{ConfigError, parse::parse_bool, resolve::Resolved};
use crate::{
    chat,
    postgres::connect::{ConnectConfig, SslMode},
};

/// The parts of a `postgres://` URL that are present.
#[derive(Default)]
pub(super) struct DatabaseUrl {
    parts: Vec<(&'static str, String)>,
}

impl DatabaseUrl {
    /// Takes a URL apart; user, password, host and name are percent-decoded.
    /// Parameters other than those of libpq named here are passed over:
    /// hosting services add their own. `source` is what the URL is called in errors.
    pub(super) fn parse(text: &str, source: &str) -> Result<Self, ConfigError> {
        let bad = |expected: &str| bad(source, expected);
        let url = Url::parse(text).map_err(|error| bad(&format!("a URL ({error})")))?;
        let mut found = Self::default();
        let not_utf8 = |_| bad("a URL whose parts are UTF-8 after percent-decoding");
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']));
        let port = url.port().map(|port| port.to_string());
        for (name, text) in [
            ("DB_HOST", host),
            ("DB_PORT", port.as_deref()),
            ("DB_USER", Some(url.username())),
            ("DB_PASSWORD", url.password()),
            ("DB_NAME", url.path().strip_prefix('/')),
        ] {
            found.put(name, text).map_err(not_utf8)?;
        }
        for (name, value) in url.query_pairs() {
            let knob = match &*name {
                "host" => "DB_HOST",
                "port" => "DB_PORT",
                "user" => "DB_USER",
                "password" => "DB_PASSWORD",
                "dbname" => "DB_NAME",
                "sslmode" => "ROWCAST_DB_SSL_MODE",
                "sslrootcert" => "DB_SSL_CA_CERT",
                _ => continue,
            };
            found.parts.retain(|(other, _)| *other != knob);
            found.parts.push((knob, value.into_owned()));
        }
        Ok(found)
    }

    /// Names of settings and the values the URL gives them.
    pub(super) fn parts(self) -> impl Iterator<Item = (&'static str, String)> {
        self.parts.into_iter()
    }

    fn put(&mut self, name: &'static str, text: Option<&str>) -> Result<(), Utf8Error> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(()) };
        let decoded = percent_decode_str(text).decode_utf8()?;
        self.parts.push((name, decoded.into_owned()));
        Ok(())
    }
}

fn bad(source: &str, expected: &str) -> ConfigError {
    ConfigError::Invalid {
        name: source.to_owned(),
        value: "set to something else".to_owned(),
        expected: format!(
            "{expected}; characters such as @ : / # ? in a password must be percent-encoded"
        ),
    }
}

/// A URL without its password, for the screen.
pub(super) fn masked(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "***".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    // A password may also be a parameter, in any spelling that decodes to it.
    if url.query_pairs().any(|(name, _)| name.contains("password")) {
        url.set_query(Some("***"));
    }
    url.to_string()
}

impl Resolved {
    /// How to reach the database.
    ///
    /// # Errors
    /// If the settings contradict each other.
    pub fn database(&self) -> Result<ConnectConfig, ConfigError> {
        let text = |name: &'static str| {
            self.value(name)
                .map(str::to_owned)
                .ok_or(ConfigError::Missing { name, why: "it is part of the database's address" })
        };
        Ok(ConnectConfig {
            host: text("DB_HOST")?,
            port: text("DB_PORT")?.parse().unwrap_or(5432),
            user: text("DB_USER")?,
            password: self.value("DB_PASSWORD").map(str::to_owned),
            database: text("DB_NAME")?,
            ssl_mode: self.ssl_mode()?,
            ssl_root_cert: self.value("DB_SSL_CA_CERT").map(Into::into),
        })
    }

    /// How to reach the shards of the chat, in their order. What a URL leaves out
    /// is as by default, but TLS as for the tenant's database.
    ///
    /// # Errors
    /// If a URL has the wrong form, or the names of their slots are too long.
    pub fn chat_shards(&self) -> Result<Vec<ConnectConfig>, ConfigError> {
        let name = "ROWCAST_CHAT_SHARDS";
        let urls = self.value(name).unwrap_or_default().split(',').map(str::trim);
        let mut shards = Vec::new();
        for url in urls.filter(|url| !url.is_empty()) {
            if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
                return Err(bad(name, "postgres:// URLs separated by commas"));
            }
            let config = self.of_url(name, url)?.database()?;
            if shards.contains(&config) {
                return Err(ConfigError::Conflict(format!("{name} has one database twice")));
            }
            shards.push(config);
        }
        let longest = chat::slot_name(&self.slot_name()?, shards.len().saturating_sub(1));
        if !shards.is_empty() && longest.len() > 63 {
            return Err(ConfigError::Conflict(format!(
                "the slot of a shard would be {longest}, but PostgreSQL allows 63 characters: \
                 shorten ROWCAST_SLOT_NAME or SLOT_NAME_SUFFIX"
            )));
        }
        Ok(shards)
    }

    fn ssl_mode(&self) -> Result<SslMode, ConfigError> {
        let root = self.value("DB_SSL_CA_CERT");
        let mode = match self.value("ROWCAST_DB_SSL_MODE") {
            Some("disable") => SslMode::Disable,
            Some("allow") => SslMode::Allow,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(_) => SslMode::Prefer,
            None => match self.value("DB_SSL").and_then(parse_bool) {
                // Supabase Realtime checks the certificate and the host name
                // exactly when it has authorities to check with.
                Some(true) if root.is_some() => SslMode::VerifyFull,
                Some(true) => SslMode::Require,
                Some(false) => SslMode::Disable,
                None => SslMode::Prefer,
            },
        };
        if let (Some(path), SslMode::Disable | SslMode::Allow) = (root, mode) {
            return Err(ConfigError::Conflict(format!(
                "DB_SSL_CA_CERT is {path:?}, but TLS is off; set DB_SSL=true or remove the file"
            )));
        }
        Ok(mode)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::Overrides, *};

    fn database(values: &[(&'static str, &'static str)]) -> Result<ConnectConfig, ConfigError> {
        let strings: BTreeMap<&str, &str> = values.iter().copied().collect();
        Resolved::read(&strings, &Overrides::default())?.database()
    }

    fn from_url(url: &'static str) -> ConnectConfig {
        database(&[("DATABASE_URL", url)]).unwrap()
    }

    #[test]
    fn a_url_is_taken_apart_and_decoded() {
        let config = from_url(
            "postgresql://app%3Auser:p%40%2F%23%3A@db.example:6543/my%20db?sslmode=verify-full&sslrootcert=/etc/ca.pem&pgbouncer=true",
        );
        assert_eq!((config.host.as_str(), config.port), ("db.example", 6543));
        assert_eq!(config.user, "app:user");
        assert_eq!(config.password.as_deref(), Some("p@/#:"));
        assert_eq!(config.database, "my db");
        assert_eq!(config.ssl_mode, SslMode::VerifyFull);
        assert_eq!(config.ssl_root_cert.unwrap().to_str(), Some("/etc/ca.pem"));
    }

    #[test]
    fn sockets_and_ipv6_are_understood() {
        assert_eq!(from_url("postgres://u@%2Ftmp%2Fpg/d").host, "/tmp/pg");
        assert_eq!(from_url("postgres:///d?host=/tmp/pg&user=u").host, "/tmp/pg");
        assert_eq!(from_url("postgres://u@[::1]:5433/d").host, "::1");
    }

    #[test]
    fn a_bad_part_is_named() {
        let error = database(&[("DATABASE_URL", "postgres://h/d?sslmode=maybe")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the part of DATABASE_URL for ROWCAST_DB_SSL_MODE is \"maybe\", but should be disable, allow, prefer, require, verify-ca or verify-full"
        );
        let error = database(&[("DATABASE_URL", "postgres://u:pw@h:port/d")]).unwrap_err();
        assert!(!error.to_string().contains("pw"), "{error}");
    }

    #[test]
    fn tls_follows_the_variables_of_the_original() {
        let mode = |values: &[(&'static str, &'static str)]| database(values).unwrap().ssl_mode;
        assert_eq!(mode(&[]), SslMode::Prefer);
        assert_eq!(mode(&[("DB_SSL", "false")]), SslMode::Disable);
        assert_eq!(mode(&[("DB_SSL", "true")]), SslMode::Require);
        assert_eq!(mode(&[("DB_SSL", "true"), ("DB_SSL_CA_CERT", "/ca")]), SslMode::VerifyFull);
        assert_eq!(
            mode(&[("DB_SSL", "true"), ("ROWCAST_DB_SSL_MODE", "verify-ca")]),
            SslMode::VerifyCa
        );
        assert!(database(&[("DB_SSL", "false"), ("DB_SSL_CA_CERT", "/ca")]).is_err());
    }

    #[test]
    fn shards_are_urls_of_their_own() {
        let shards = |list: &'static str| {
            let values = [
                ("DATABASE_URL", "postgres://me:pw@h:1/d?sslmode=disable"),
                ("ROWCAST_CHAT_SHARDS", list),
            ];
            let strings: BTreeMap<&str, &str> = values.into_iter().collect();
            Resolved::read(&strings, &Overrides::default())?.chat_shards()
        };
        let two = shards("postgres://a:x%2Cy@one/chat, postgres://two:99/").unwrap();
        assert_eq!((two[0].host.as_str(), two[0].password.as_deref()), ("one", Some("x,y")));
        assert_eq!((two[1].port, two[1].user.as_str()), (99, "supabase_admin"));
        assert_eq!((&two[1].password, two[1].ssl_mode), (&None, SslMode::Disable));
        assert!(shards("").unwrap().is_empty());
        for wrong in ["postgres://u:hunter2@h/d,mysql://h", "postgres://h/d,postgres://h/d"] {
            let error = shards(wrong).unwrap_err().to_string();
            assert!(error.contains("ROWCAST_CHAT_SHARDS") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_masked_url_shows_no_password() {
        assert_eq!(masked("postgres://u:secret@h/d"), "postgres://u:***@h/d");
        assert_eq!(masked("postgres://h/d?password=secret"), "postgres://h/d?***");
        assert_eq!(masked("postgres://h/d?a=b&pass%77ord=secret"), "postgres://h/d?***");
        assert_eq!(masked("https://u:secret@h/keys"), "https://u:***@h/keys");
    }
}
