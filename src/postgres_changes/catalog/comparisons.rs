//! Comparisons of row values that PostgreSQL makes for us.
//!
//! All questions of a batch of rows go in one statement, both sides as text
//! and cast there. One that fails is found by halves, so that it costs nobody
//! else an answer; it is then given up, since each further row would fail too.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join3;

use super::CatalogError;
use crate::{
    postgres::pool::{
        self, Pool,
        types::{ToSql, Type},
    },
    postgres_changes::{
        condition,
        filter::ask::{Answers, Asked, Comparison},
    },
};

/// Questions of one statement.
const CHUNK: usize = 5_000;

/// A statement may take this long. A pattern can be made to take for ever.
const LIMIT: &str = "begin; set local statement_timeout = '2s'";

/// After so many errors of one filter its other questions are not asked any more.
const MAX_FAILURES: u32 = 16;

/// SQLSTATE of a statement that ran into the limit.
const TOO_SLOW: &str = "57014";

type Question = (Arc<Asked>, Box<[u8]>);

/// Fails with PostgreSQL's error if a question makes no sense to it.
pub(super) async fn check(pool: &Pool, asked: &[Arc<Asked>]) -> Result<(), CatalogError> {
    let mut comparisons: Vec<_> = asked.iter().map(|asked| &asked.comparison).collect();
    comparisons.sort_unstable_by_key(|comparison| comparison.sql("", ""));
    comparisons.dedup();
    if comparisons.is_empty() {
        return Ok(());
    }
    let lease = pool.checkout().await?;
    // One by one: the error must be the first one's.
    for comparison in comparisons {
        lease.simple_query(&comparison.probe()).await?;
    }
    Ok(())
}

#[expect(clippy::mutable_key_type, reason = "what changes in a key is no part of its equality")]
pub(super) async fn answer(
    pool: &Pool,
    answers: &mut Answers,
) -> Result<Vec<(Arc<Asked>, String)>, CatalogError> {
    let mut hopeless: Vec<(Arc<Asked>, String)> = Vec::new();
    // Failures of each filter; one that takes too long has all of them at once.
    let mut failed: HashMap<Arc<Asked>, u32> = HashMap::new();
    let mut left: Vec<Vec<Question>> =
        answers.take_open().chunks(CHUNK).map(<[Question]>::to_vec).collect();
    while let Some(mut questions) = left.pop() {
        // Rows beside the one that fails still have their answer, within reason.
        questions.retain(|(asked, _)| failed.get(asked).is_none_or(|count| *count < MAX_FAILURES));
        match ask(pool, &questions).await {
            Ok(known) => {
                for ((asked, value), known) in questions.into_iter().zip(known) {
                    answers.put(asked, value, known);
                }
            }
            Err(CatalogError::Refused { code, .. }) => {
                if let [(asked, _)] = &*questions {
                    *failed.entry(Arc::clone(asked)).or_default() +=
                        if code == TOO_SLOW { MAX_FAILURES } else { 1 };
                    if !asked.is_hopeless() {
                        asked.give_up();
                        // PostgreSQL's own words may quote a row.
                        let problem = format!("ERROR {code} ({})", condition::name(&code));
                        hopeless.push((Arc::clone(asked), problem));
                    }
                    continue;
                }
                let half = questions.split_off(questions.len() / 2);
                left.extend([half, questions]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(hopeless)
}

/// The answers in the order of the questions.
async fn ask(pool: &Pool, questions: &[Question]) -> Result<Vec<Option<bool>>, CatalogError> {
    let mut known = vec![None; questions.len()];
    let mut groups: HashMap<&Comparison, Group> = HashMap::new();
    for (at, (asked, value)) in questions.iter().enumerate() {
        // What is no text was never of the type: no comparison holds.
        let Ok(value) = std::str::from_utf8(value) else { continue };
        let group = groups.entry(&asked.comparison).or_default();
        group.values.push(value.to_owned());
        group.wanted.push(asked.wanted.to_string());
        group.places.push(i32::try_from(at).unwrap_or(i32::MAX));
    }
    if groups.is_empty() {
        return Ok(known);
    }
    let (mut parts, mut params) = (Vec::new(), Vec::<(&(dyn ToSql + Sync), Type)>::new());
    for (comparison, group) in &groups {
        let first = params.len() + 1;
        parts.push(format!(
            "select x.n, {} from unnest(${first}, ${}, ${}) x(a, b, n)",
            comparison.sql("x.a", "x.b"),
            first + 1,
            first + 2,
        ));
        params.push((&group.values, Type::TEXT_ARRAY));
        params.push((&group.wanted, Type::TEXT_ARRAY));
        params.push((&group.places, Type::INT4_ARRAY));
    }
    let sql = parts.join(" union all ");
    let mut lease = pool.checkout().await?;
    // Until the commit is through, the session is not as it was.
    lease.mark_dirty();
    let (began, rows, done) = join3(
        lease.batch_execute(LIMIT),
        lease.query_typed(&sql, &params),
        lease.batch_execute("commit"),
    )
    .await;
    if began.is_ok() && done.is_ok() {
        lease.mark_clean();
    }
    began?;
    let rows = rows.map_err(refused_if_too_slow)?;
    for row in rows {
        let (at, answer): (i32, Option<bool>) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(slot) = usize::try_from(at).ok().and_then(|at| known.get_mut(at)) {
            *slot = answer;
        }
    }
    Ok(known)
}

#[derive(Default)]
struct Group {
    values: Vec<String>,
    wanted: Vec<String>,
    places: Vec<i32>,
}

/// Running into the limit is the question's fault, not the connection's.
pub(super) fn refused_if_too_slow(error: pool::Error) -> CatalogError {
    match error.as_db_error() {
        Some(db) if db.code().code() == "57014" => {
            CatalogError::Refused { code: "57014".to_owned(), message: db.message().to_owned() }
        }
        _ => error.into(),
    }
}
