//! The question to PostgreSQL and how its answer reads. Pure.

use postgres_protocol::escape::escape_literal;
use serde::Serialize;
use serde_json::Value;

use super::{AuthorizeError, Caller, Rights};

const PROBE: &str = include_str!("probe.sql");

/// Whether a caller wants to receive or to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Read,
    Write,
}

/// One question of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) caller: Caller,
    pub(super) access: Access,
}

pub(super) type Answer = Result<Rights, AuthorizeError>;

#[derive(Serialize)]
struct Row<'a> {
    role: &'a str,
    topic: &'a str,
    claims: &'a str,
    sub: &'a str,
    headers: &'a str,
    write: bool,
}

/// One script that asks everything and keeps nothing. Its last result but one
/// is the answers; `limit` is for the whole batch, in milliseconds.
pub(super) fn script(questions: &[Question], limit: u128) -> String {
    let rows: Vec<Row<'_>> = questions.iter().map(row).collect();
    // Strings and booleans always serialize.
    let json = serde_json::to_string(&rows).unwrap_or_default();
    let questions = escape_literal(&json);
    format!(
        "begin; set local statement_timeout = {limit}; \
         select set_config('rowcast.questions', {questions}, true); \
         {PROBE} \
         select current_setting('rowcast.answers'); rollback"
    )
}

fn row(question: &Question) -> Row<'_> {
    let Caller { topic, claims, headers } = &question.caller;
    Row {
        role: claims.role(),
        topic,
        claims: claims.json(),
        sub: claims.subject().unwrap_or_default(),
        headers: headers.expose(),
        write: question.access == Access::Write,
    }
}

/// The answers to `count` questions. What does not read as an answer is none.
pub(super) fn answers(json: &str, count: usize) -> Vec<Answer> {
    let values: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    (0..count).map(|at| answer(values.get(at))).collect()
}

fn answer(value: Option<&Value>) -> Answer {
    match value {
        Some(Value::Array(allowed)) => {
            let has = |kind: &str| allowed.iter().any(|value| value == kind);
            Ok(Rights { broadcast: has("broadcast"), presence: has("presence") })
        }
        Some(Value::String(sqlstate)) => Err(failure(sqlstate)),
        _ => Err(AuthorizeError::Unavailable),
    }
}

/// What a failed statement means.
pub(super) fn failure(sqlstate: &str) -> AuthorizeError {
    match sqlstate {
        "57014" => AuthorizeError::Canceled,
        // No partition takes today's row.
        "23514" => AuthorizeError::MissingPartition,
        "53300" => AuthorizeError::LackOfConnections,
        _ => AuthorizeError::Policy { sqlstate: sqlstate.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_their_places_and_doubt_is_no() {
        let json = r#"[["broadcast"],"22012",["presence","broadcast"],[],5]"#;
        let policy = AuthorizeError::Policy { sqlstate: "22012".to_owned() };
        assert_eq!(
            answers(json, 6),
            [
                Ok(Rights { broadcast: true, presence: false }),
                Err(policy),
                Ok(Rights { broadcast: true, presence: true }),
                Ok(Rights::default()),
                Err(AuthorizeError::Unavailable),
                Err(AuthorizeError::Unavailable),
            ]
        );
    }

    #[test]
    fn what_a_caller_sends_is_quoted() {
        let claims = r#"{"role":"anon","exp":2,"x":"'; drop table t; --\\"}"#;
        let caller = Caller {
            topic: "it's".into(),
            claims: crate::auth::Claims::parse(claims, 1).unwrap(),
            headers: crate::secret::Secret::new("{}"),
        };
        let script = script(&[Question { caller, access: Access::Read }], 1000);
        assert!(script.contains("''; drop") && script.contains("it''s"));
    }
}
