//! The publications a stream reads.

use super::{config::Publication, error::StreamError};
use crate::postgres::wire::{Connection, WireError};

/// Makes sure that all exist with their contents.
///
/// Must run before the slot is created: a slot that begins before its
/// publication does cannot decode the rows between the two. For the same
/// reason one with wrong contents is altered, not made anew.
pub(super) async fn ensure(
    connection: &mut Connection,
    publications: &[Publication],
    create: bool,
) -> Result<(), StreamError> {
    for publication in publications {
        let Some(change) = change(connection, publication).await? else { continue };
        let name = &publication.name;
        if !create {
            return Err(StreamError::PublicationMissing { name: name.clone() });
        }
        match connection.query(&change).await {
            Ok(_) => tracing::info!(publication = name, "made or mended the publication"),
            // Somebody else was faster.
            Err(WireError::Server(error)) if &*error.code == "42710" => {}
            Err(WireError::Server(error)) if &*error.code == "42501" => {
                let message = error.message.to_string();
                let (user, grant) = missing_grant(connection).await?;
                let remedy = if publication.table.is_some() { change } else { grant };
                let name = name.clone();
                return Err(StreamError::PublicationDenied { name, user, message, remedy });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The statement that makes a publication what it should be, if it is not.
async fn change(
    connection: &mut Connection,
    publication: &Publication,
) -> Result<Option<String>, StreamError> {
    let (value, name) = (literal(&publication.name), identifier(&publication.name));
    let Some((schema, table)) = &publication.table else {
        let sql = format!("SELECT 1 FROM pg_publication WHERE pubname = {value}");
        let is_missing = connection.query(&sql).await?.is_empty();
        // Empty, never `FOR ALL TABLES`: what is published is the user's decision.
        return Ok(is_missing.then(|| format!("CREATE PUBLICATION {name}")));
    };
    // The catalogue is asked, because to_regclass() needs USAGE of the schema.
    let sql = format!(
        "SELECT p.oid IS NOT NULL, p.puballtables, \
           EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid), \
           EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname \
             AND NOT (t.schemaname = n.nspname \
               AND (t.tablename = c.relname OR starts_with(t.tablename, c.relname || '_')))) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_publication p ON p.pubname = {value} \
         WHERE n.nspname = {} AND c.relname = {}",
        literal(schema),
        literal(table),
    );
    let rows = connection.query(&sql).await?;
    let table = format!("{}.{}", identifier(schema), identifier(table));
    if rows.is_empty() {
        return Err(StreamError::TableMissing { table });
    }
    let is = |column| rows.text(0, column) == Some("t");
    Ok(match (is(0), is(1), is(2), is(3)) {
        (false, ..) => Some(format!("CREATE PUBLICATION {name} FOR TABLE {table}")),
        // Cannot be altered. Both in one transaction, so that the name always
        // means something to whoever reads the log.
        (true, true, ..) => {
            Some(format!("DROP PUBLICATION {name}; CREATE PUBLICATION {name} FOR TABLE {table}"))
        }
        (true, false, true, false) => None,
        (true, false, ..) => Some(format!("ALTER PUBLICATION {name} SET TABLE {table}")),
    })
}

/// Our user, and the grant with which it could create publications.
async fn missing_grant(connection: &mut Connection) -> Result<(String, String), WireError> {
    let sql = "SELECT quote_ident(current_user), \
               format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)";
    let rows = connection.query(sql).await?;
    let text = |column| rows.text(0, column).unwrap_or_default().to_owned();
    Ok((text(0), text(1)))
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
pub(super) fn list(publications: &[Publication]) -> String {
    let names: Vec<String> = publications.iter().map(|each| identifier(&each.name)).collect();
    literal(&names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_twice() {
        let names = ["a", "it's \"b\""].map(Publication::of_the_user);
        assert_eq!(list(&names), r#"'"a","it''s ""b"""'"#);
    }
}
