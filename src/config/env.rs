//! Where variables come from. The only code that reads the environment.

use std::{collections::BTreeMap, env};

/// A set of named strings: the process's environment, or a map in tests.
pub trait Strings {
    /// The value of `name`. One that is empty counts as not set, because
    /// `VAR=${OTHER:-}` in a compose file means just that.
    fn value(&self, name: &str) -> Option<String>;

    /// All names that are set, in any order.
    fn names(&self) -> Vec<String>;
}

/// The process's environment. Bytes that are not UTF-8 are replaced, so that
/// the check of the value reports them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Env;

impl Strings for Env {
    fn value(&self, name: &str) -> Option<String> {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then_some(value)
    }

    fn names(&self) -> Vec<String> {
        env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

impl Strings for BTreeMap<&str, &str> {
    fn value(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned())
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(|name| (*name).to_owned()).collect()
    }
}
