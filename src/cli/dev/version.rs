//! Versions of PostgreSQL's server program.

use std::fmt;

/// A version such as 15.14; betas have minor 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl Version {
    /// The oldest that has what logical decoding needs here.
    pub(super) const OLDEST: u32 = 14;

    /// Reads what `postgres --version` prints, for example
    /// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("(PostgreSQL) ")?;
        let word = rest.split_whitespace().next()?;
        let (major, rest) = digits(word)?;
        let minor = rest.strip_prefix('.').and_then(digits).map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }

    pub(super) fn is_supported(self) -> bool {
        self.major >= Self::OLDEST
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The number at the start, and what follows it.
fn digits(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_distributions_are_read() {
        let parse = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(
            parse("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n").as_deref(),
            Some("15.14")
        );
        assert_eq!(parse("postgres (PostgreSQL) 18.4").as_deref(), Some("18.4"));
        assert_eq!(parse("postgres (PostgreSQL) 19beta1").as_deref(), Some("19.0"));
        assert_eq!(parse("postgres (PostgreSQL) 9.6.24").as_deref(), Some("9.6"));
        assert_eq!(parse("psql: command not found"), None);
        assert_eq!(parse("postgres (PostgreSQL) devel"), None);
    }

    #[test]
    fn the_newest_is_the_greatest() {
        let parse = |text: &str| Version::parse(&format!("postgres (PostgreSQL) {text}")).unwrap();
        assert!(parse("17.2") > parse("16.10") && parse("16.10") > parse("16.9"));
        assert!(!parse("13.20").is_supported() && parse("14.0").is_supported());
    }
}
