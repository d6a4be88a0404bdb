//! Logs and metrics. Neither ever holds a payload, a token or a row's values.

mod counts;
pub mod logging;
pub mod process;
pub mod series;

/// Metrics are registered into one registry that is passed in, never a global.
pub use self::counts::Counts;
pub use prometheus_client::registry::Registry;

/// The label of a series that belongs to one tenant.
pub type TenantLabel = [(&'static str, String); 1];

/// The label of this tenant's series.
pub fn tenant_label(name: &str) -> TenantLabel {
    [("tenant", name.to_owned())]
}

/// An error and what caused it, in one line. Only the first line of each cause:
/// PostgreSQL's DETAIL comes after it and may quote rows.
pub fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let lines: Vec<String> = causes.map(|cause| first_line(&cause.to_string())).collect();
    lines.join(": ")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do it")]
    struct Outer(#[source] Box<dyn Error>);

    #[test]
    fn a_reason_names_every_cause_and_no_detail() {
        let refused = io::Error::other("ERROR: a key is there already\nDETAIL: Key (id)=(7)");
        let inner = Outer(Box::new(refused));
        let error = Outer(Box::new(inner));
        assert_eq!(reason(&error), "cannot do it: cannot do it: ERROR: a key is there already");
    }
}
