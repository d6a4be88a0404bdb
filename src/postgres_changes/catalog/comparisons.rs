//! Comparisons of row values that PostgreSQL makes for us.
//!
//! All questions of a batch of rows go in few statements, both sides as text
//! and cast there. One that fails is found by halves, so that it costs nobody
//! else an answer; it is then given up, since each further row would fail too.
//!
//! Every row waits for the answers, so a round of them has a time budget. Once
//! it is spent, what fails or dawdles is given up in company.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join3;
use tokio::time::Instant;

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

/// Bytes of one statement, about.
const CHUNK_BYTES: usize = 4 << 20;

/// A statement may take this long. A pattern can be made to take for ever.
const LIMIT: Duration = Duration::from_secs(2);

/// The time budget of a round.
const BUDGET: Duration = Duration::from_secs(10);

/// A statement may take this long when that is spent.
const LATE_LIMIT: Duration = Duration::from_millis(100);

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
    let mut left = chunks(answers.take_open());
    let deadline = Instant::now() + BUDGET;
    while let Some(mut questions) = left.pop() {
        // Rows beside the one that fails still have their answer, within reason.
        questions.retain(|(asked, _)| failed.get(asked).is_none_or(|count| *count < MAX_FAILURES));
        if questions.is_empty() {
            continue;
        }
        let is_late = Instant::now() >= deadline;
        let limit = if is_late { LATE_LIMIT } else { LIMIT };
        match ask(pool, &questions, limit).await {
            Ok(known) => {
                for ((asked, value), known) in questions.into_iter().zip(known) {
                    answers.put(asked, value, known);
                }
            }
            Err(CatalogError::Refused { code, .. }) => {
                // One filter's questions stand together; which of them is slow does not matter.
                let of_one = match (questions.first(), questions.last()) {
                    (Some((first, _)), Some((last, _))) => first == last,
                    _ => true,
                };
                if is_late || questions.len() == 1 || (of_one && code == TOO_SLOW) {
                    let weight = if is_late || code == TOO_SLOW { MAX_FAILURES } else { 1 };
                    // PostgreSQL's own words may quote a row.
                    let problem = format!("ERROR {code} ({})", condition::name(&code));
                    questions.dedup_by(|(one, _), (other, _)| one == other);
                    for (asked, _) in questions {
                        *failed.entry(Arc::clone(&asked)).or_default() += weight;
                        if !asked.is_hopeless() {
                            asked.give_up();
                            hopeless.push((asked, problem.clone()));
                        }
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

/// Cut so that no statement is too large. Each filter's questions stand together.
fn chunks(questions: Vec<Question>) -> Vec<Vec<Question>> {
    let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for question in questions {
        let size = question.0.wanted.len() + question.1.len();
        if chunk.len() >= CHUNK || (bytes + size > CHUNK_BYTES && !chunk.is_empty()) {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += size;
        chunk.push(question);
    }
    chunks.push(chunk);
    chunks
}

/// The answers in the order of the questions.
async fn ask(
    pool: &Pool,
    questions: &[Question],
    limit: Duration,
) -> Result<Vec<Option<bool>>, CatalogError> {
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
    let begin = format!("begin read only; set local statement_timeout = {}", limit.as_millis());
    let mut lease = pool.checkout().await?;
    // Until the rollback is through, the session is not as it was.
    lease.mark_dirty();
    let (began, rows, done) = join3(
        lease.batch_execute(&begin),
        lease.query_typed(&sql, &params),
        lease.batch_execute("rollback"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_is_too_large() {
        let comparison = Comparison {
            cast: Arc::from("text"),
            collation: None,
            schema: Arc::from("pg_catalog"),
            operator: "=",
        };
        let asked = Asked::new(comparison, Arc::from("w"));
        let value = |size: usize| (Arc::clone(&asked), vec![b'x'; size].into_boxed_slice());
        let sizes = |questions| chunks(questions).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..12_000).map(|_| value(1)).collect()), [5_000, 5_000, 2_000]);
        let large = CHUNK_BYTES / 2 - 1;
        assert_eq!(sizes(vec![value(large), value(large), value(large)]), [2, 1]);
        assert_eq!(sizes(vec![value(CHUNK_BYTES * 2), value(1)]), [1, 1]);
    }
}
