//! What can be wrong with the settings.

use std::fmt;

use thiserror::Error;

/// Everything wrong with the settings, or with one of them.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value that its variable cannot have.
    #[error("{name} is {value}, but should be {expected}")]
    Invalid {
        /// The variable.
        name: String,
        /// The quoted value, or words in place of a secret.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A `ROWCAST_` variable that does not exist: most likely a typing error,
    /// and a setting that silently does nothing is worse than a refused start.
    #[error("{name} is not a setting of Rowcast{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The variable.
        name: String,
        /// The setting whose name is closest.
        nearest: Option<&'static str>,
    },
    /// A setting without which this command cannot run.
    #[error("{name} is not set; {why}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it is needed for, as a sentence.
        why: &'static str,
    },
    /// Two settings that do not go together.
    #[error("{0}")]
    Conflict(String),
    /// Several of the above, so that one run shows them all.
    #[error("{}", lines(.0))]
    Many(Vec<Self>),
}

impl ConfigError {
    /// One error of a list, or all of them.
    pub(super) fn all(mut faults: Vec<Self>) -> Result<(), Self> {
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.remove(0)),
            _ => Err(Self::Many(faults)),
        }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn lines(faults: &[impl fmt::Display]) -> String {
    let mut text = format!("{} settings are wrong:", faults.len());
    for fault in faults {
        text.push_str("\n  - ");
        text.push_str(&fault.to_string());
    }
    text
}
