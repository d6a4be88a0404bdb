//! Which value each setting has, and where it came from.
//!
//! A flag wins over the environment, `DATABASE_URL` over `DB_*`, anything over
//! the default. All faults are collected, so that one run shows them all.

use super::{
    database::DatabaseUrl,
    env::Strings,
    error::ConfigError,
    knob::Knob,
    parse::{self, check},
    vars::{IGNORED, IGNORED_PREFIXES, KNOBS},
};

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was set.
    Default,
    /// The environment.
    Environment,
    /// A part of `DATABASE_URL`.
    DatabaseUrl,
    /// The command line.
    Flag,
    /// Chosen by `rowcast dev`.
    Dev,
}

/// One setting as it is in force.
#[derive(Clone)]
pub struct InForce {
    /// The setting.
    pub knob: &'static Knob,
    /// Its value, if it has one.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: Origin,
}

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.knob.secret { Some("***") } else { self.value.as_deref() };
        write!(f, "{}={value:?} ({:?})", self.knob.name, self.origin)
    }
}

/// Values that do not come from the environment.
#[derive(Clone, Default)]
pub struct Overrides {
    strong: Vec<(&'static str, String, Origin)>,
    weak: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for Overrides {
    /// Names only: some of the values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let strong = self.strong.iter().map(|(name, ..)| name);
        f.debug_list().entries(strong.chain(self.weak.iter().map(|(name, _)| name))).finish()
    }
}

impl Overrides {
    /// A value from the command line: wins over the environment.
    pub fn flag(&mut self, name: &'static str, value: &(impl ToString + ?Sized)) {
        self.strong.push((name, value.to_string(), Origin::Flag));
    }

    /// A value that a command insists on: wins over the environment.
    pub fn insist(&mut self, name: &'static str, value: &(impl ToString + ?Sized)) {
        self.strong.push((name, value.to_string(), Origin::Dev));
    }

    /// Another default: the environment wins over it.
    pub fn suggest(&mut self, name: &'static str, value: &(impl ToString + ?Sized)) {
        self.weak.push((name, value.to_string()));
    }
}

/// All settings, checked one by one but not yet as a whole.
#[derive(Debug, Clone)]
pub struct Resolved {
    entries: Vec<InForce>,
    ignored: Vec<String>,
}

impl Resolved {
    /// Reads every setting.
    ///
    /// # Errors
    /// If a value has the wrong form, or a `ROWCAST_` variable does not exist.
    pub fn read(strings: &impl Strings, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut faults = Vec::new();
        let mut entries = Vec::with_capacity(KNOBS.len());
        for knob in KNOBS {
            let (name, entry) = find(knob, strings, overrides);
            if let Some(value) = &entry.value {
                faults.extend(check(knob, name, value).err());
            }
            entries.push(entry);
        }
        let mut ignored = Vec::new();
        for name in strings.names() {
            if IGNORED.contains(&name.as_str())
                || IGNORED_PREFIXES.iter().any(|start| name.starts_with(start))
            {
                ignored.push(name);
            } else if name.starts_with("ROWCAST_") && Knob::find(&name).is_none() {
                let nearest = parse::nearest(&name, KNOBS.iter().map(|knob| knob.name));
                faults.push(ConfigError::Unknown { name, nearest });
            }
        }
        ignored.sort();
        ConfigError::all(faults)?;
        let mut resolved = Self { entries, ignored };
        resolved.spread_url()?;
        Ok(resolved)
    }

    /// Every setting in the order of the table.
    pub fn entries(&self) -> &[InForce] {
        &self.entries
    }

    /// Variables that are set but have no meaning here, sorted.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The setting of that name.
    pub fn entry(&self, name: &str) -> Option<&InForce> {
        self.entries.iter().find(|entry| entry.knob.name == name)
    }

    /// Its value, if it has one.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.entry(name)?.value.as_deref()
    }

    /// The same settings with another database, that of a URL.
    pub(super) fn of_url(&self, source: &str, url: &str) -> Result<Self, ConfigError> {
        let mut other = self.clone();
        for entry in &mut other.entries {
            if ["DB_HOST", "DB_PORT", "DB_USER", "DB_NAME"].contains(&entry.knob.name) {
                entry.value = Some(entry.knob.default.to_owned());
            } else if entry.knob.name == "DB_PASSWORD" {
                entry.value = None;
            }
        }
        other.take_parts(source, url)?;
        Ok(other)
    }

    /// Puts the parts of `DATABASE_URL` in the place of `DB_*`.
    fn spread_url(&mut self) -> Result<(), ConfigError> {
        let Some(entry) = self.entry("DATABASE_URL") else { return Ok(()) };
        let Some(url) = entry.value.clone() else { return Ok(()) };
        let source = called("DATABASE_URL", entry.origin);
        self.take_parts(source, &url)
    }

    /// Puts the parts of a URL in the place of what was set otherwise.
    fn take_parts(&mut self, source: &str, url: &str) -> Result<(), ConfigError> {
        for (name, value) in DatabaseUrl::parse(url, source)?.parts() {
            // An explicit mode or file of ours wins over a parameter of the URL.
            let explicit = matches!(name, "ROWCAST_DB_SSL_MODE" | "DB_SSL_CA_CERT");
            let Some(entry) = self.entries.iter_mut().find(|entry| entry.knob.name == name) else {
                continue;
            };
            let is_set = entry.value.is_some() && entry.origin != Origin::DatabaseUrl;
            if explicit && is_set {
                continue;
            }
            check(entry.knob, &format!("the part of {source} for {name}"), &value)?;
            entry.value = Some(value);
            entry.origin = Origin::DatabaseUrl;
        }
        Ok(())
    }
}

/// What a setting is called where it came from: an error has to name what was typed.
fn called(name: &'static str, origin: Origin) -> &'static str {
    match (name, origin) {
        ("DATABASE_URL", Origin::Flag) => "--db-url",
        ("ROWCAST_PG_BIN", Origin::Flag) => "--pg-bin",
        ("ROWCAST_BIND", Origin::Flag) => "--bind",
        ("PORT", Origin::Flag) => "--port",
        _ => name,
    }
}

/// The value of one setting and the name under which it was found.
fn find(
    knob: &'static Knob,
    strings: &impl Strings,
    overrides: &Overrides,
) -> (&'static str, InForce) {
    let found =
        |name: &&'static str, value, origin| (*name, InForce { knob, value: Some(value), origin });
    if let Some((name, value, origin)) = overrides.strong.iter().find(|(n, ..)| *n == knob.name) {
        let (name, mut entry) = found(name, value.clone(), *origin);
        // Insisting on nothing takes a value away.
        entry.value.take_if(|value| value.is_empty());
        return (called(name, *origin), entry);
    }
    for name in std::iter::once(&knob.name).chain(knob.aliases) {
        if let Some(value) = strings.value(name) {
            return found(name, value, Origin::Environment);
        }
    }
    if let Some((name, value)) = overrides.weak.iter().find(|(n, _)| *n == knob.name) {
        return found(name, value.clone(), Origin::Dev);
    }
    let value = (!knob.default.is_empty()).then(|| knob.default.to_owned());
    (knob.name, InForce { knob, value, origin: Origin::Default })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(values: &[(&'static str, &'static str)]) -> Result<Resolved, ConfigError> {
        let strings: BTreeMap<&str, &str> = values.iter().copied().collect();
        Resolved::read(&strings, &Overrides::default())
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_a_suggestion() {
        let strings = BTreeMap::from([("PORT", "1"), ("LOG_LEVEL", "")]);
        let mut overrides = Overrides::default();
        overrides.suggest("PORT", &2);
        overrides.suggest("LOG_LEVEL", "warn");
        let resolved = Resolved::read(&strings, &overrides).unwrap();
        assert_eq!(resolved.value("PORT"), Some("1"));
        assert_eq!(resolved.value("LOG_LEVEL"), Some("warn"), "an empty variable is not set");
        overrides.flag("PORT", &3);
        let resolved = Resolved::read(&strings, &overrides).unwrap();
        assert_eq!(resolved.value("PORT"), Some("3"));
        assert_eq!(resolved.entry("PORT").unwrap().origin, Origin::Flag);
    }

    #[test]
    fn an_alias_counts_and_is_named_in_errors() {
        assert_eq!(
            read(&[("DB_POOL_SIZE", "9")]).unwrap().value("ROWCAST_DB_POOL_SIZE"),
            Some("9")
        );
        let error = read(&[("DB_POOL_SIZE", "none")]).unwrap_err().to_string();
        assert!(error.starts_with("DB_POOL_SIZE is \"none\""), "{error}");
    }

    #[test]
    fn a_bad_flag_is_named_as_it_was_typed() {
        let error = |url: &str| {
            let mut overrides = Overrides::default();
            overrides.flag("DATABASE_URL", url);
            let strings = BTreeMap::<&str, &str>::new();
            Resolved::read(&strings, &overrides).unwrap_err().to_string()
        };
        for url in ["mysql://h/d", "postgres://h:port/d"] {
            assert!(error(url).starts_with("--db-url is set to something else"), "{}", error(url));
        }
        let error = error("postgres://h/d?sslmode=maybe");
        assert!(error.starts_with("the part of --db-url for ROWCAST_DB_SSL_MODE is"), "{error}");
    }

    #[test]
    fn a_misspelt_name_is_refused_with_the_nearest_one() {
        let error = read(&[("ROWCAST_SLOT_NAM", "x")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "ROWCAST_SLOT_NAM is not a setting of Rowcast; did you mean ROWCAST_SLOT_NAME?"
        );
        let error = read(&[("ROWCAST_COFFEE", "x")]).unwrap_err().to_string();
        assert_eq!(error, "ROWCAST_COFFEE is not a setting of Rowcast");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let error = read(&[("PORT", "x"), ("DB_PORT", "0")]).unwrap_err().to_string();
        assert!(error.contains("PORT is \"x\"") && error.contains("DB_PORT is \"0\""), "{error}");
    }

    #[test]
    fn names_of_the_original_without_meaning_are_listed() {
        let resolved =
            read(&[("SECRET_KEY_BASE", "x"), ("GEN_RPC_COMPRESS", "1"), ("HOME", "/")]).unwrap();
        assert_eq!(resolved.ignored(), ["GEN_RPC_COMPRESS", "SECRET_KEY_BASE"]);
    }

    #[test]
    fn the_url_wins_over_single_variables() {
        let resolved =
            read(&[("DATABASE_URL", "postgres://u:p%40ss@h/d"), ("DB_HOST", "other")]).unwrap();
        assert_eq!(resolved.value("DB_HOST"), Some("h"));
        assert_eq!(resolved.entry("DB_HOST").unwrap().origin, Origin::DatabaseUrl);
        assert_eq!(resolved.value("DB_PASSWORD"), Some("p@ss"));
        assert_eq!(resolved.value("DB_PORT"), Some("5432"));
    }

    #[test]
    fn what_is_set_for_tls_wins_over_any_url() {
        let url = "postgres://h/d?sslmode=disable&sslrootcert=/other";
        let another = read(&[("DATABASE_URL", "postgres://h/d?sslmode=require")]).unwrap();
        let free = another.of_url("shards", url).unwrap();
        assert_eq!(free.value("ROWCAST_DB_SSL_MODE"), Some("disable"));
        let set = [("ROWCAST_DB_SSL_MODE", "verify-full"), ("DB_SSL_CA_CERT", "/ours")];
        let of_shard = read(&set).unwrap().of_url("shards", url).unwrap();
        let of_tenant = read(&[set[0], set[1], ("DATABASE_URL", url)]).unwrap();
        for resolved in [of_shard, of_tenant] {
            for (name, value) in set {
                assert_eq!(resolved.value(name), Some(value));
            }
        }
    }
}
