//! The publications a stream reads.

use super::error::StreamError;
use crate::postgres::wire::{Connection, WireError};

/// Makes sure that all exist. A missing one is created empty, never `FOR ALL
/// TABLES`: what is published is the user's decision.
///
/// Must run before the slot is created: a slot that begins before its
/// publication does cannot decode the rows between the two.
pub(super) async fn ensure(
    connection: &mut Connection,
    names: &[String],
    create: bool,
) -> Result<(), StreamError> {
    for name in names {
        let sql = format!("SELECT 1 FROM pg_publication WHERE pubname = {}", literal(name));
        if !connection.query(&sql).await?.is_empty() {
            continue;
        }
        if !create {
            return Err(StreamError::PublicationMissing { name: name.clone() });
        }
        match connection.query(&format!("CREATE PUBLICATION {}", identifier(name))).await {
            Ok(_) => tracing::info!(publication = name, "created an empty publication"),
            // Somebody else was faster.
            Err(WireError::Server(error)) if &*error.code == "42710" => {}
            Err(WireError::Server(error)) if &*error.code == "42501" => {
                return Err(denied(connection, name).await?);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn denied(connection: &mut Connection, name: &str) -> Result<StreamError, WireError> {
    let rows = connection.query("SELECT current_database(), current_user").await?;
    let text = |column| rows.text(0, column).unwrap_or_default().to_owned();
    Ok(StreamError::PublicationDenied { name: name.to_owned(), database: text(0), user: text(1) })
}

/// A string literal. Works in SQL and in replication commands, whose grammar
/// knows no `E''`: `standard_conforming_strings` is on since PostgreSQL 9.1.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The value of `publication_names`: a literal that holds a list of identifiers.
pub(super) fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| identifier(name)).collect();
    literal(&names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_twice() {
        let names = ["a".to_owned(), "it's \"b\"".to_owned()];
        assert_eq!(list(&names), r#"'"a","it''s ""b"""'"#);
    }
}
