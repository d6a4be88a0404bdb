//! What PostgreSQL must be asked about a binding before it can be subscribed.

use std::sync::Arc;

use super::{
    catalog::{Casts, Catalog, CatalogError, Described},
    condition, inspect,
    rule::{Problem, Rule},
    subscribe::SubscribeError,
    subscription::Binding,
};
use crate::error_code::ErrorCode;

/// A binding that fits its tables.
pub(super) struct Prepared {
    pub(super) binding: Binding,
    pub(super) rule: Arc<Rule>,
    pub(super) casts: Arc<Casts>,
    pub(super) tables: Arc<[Described]>,
}

/// Checks a binding against the tables it covers.
pub(super) async fn prepare(
    catalog: &Catalog,
    binding: &Binding,
    role: &Arc<str>,
    tables: Arc<[Described]>,
) -> Result<Prepared, SubscribeError> {
    if tables.is_empty() {
        return Err(refused(format!(
            "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: {}",
            inspect::binding(binding)
        )));
    }
    let raise = |problem: Problem| {
        refused(format!(
            "Unable to subscribe to changes with given parameters. An exception happened so please check your connect parameters: {}. Exception: ERROR {} ({}) {}",
            inspect::binding(binding),
            problem.sqlstate,
            condition::name(&problem.sqlstate),
            problem.message
        ))
    };
    let fail = |error: CatalogError| match error {
        CatalogError::Refused { code, message } => raise(Problem::new(code, message)),
        error @ CatalogError::Unavailable(_) => unavailable(&error),
    };
    let unknown_role = || raise(Problem::new("42704", format!("role \"{role}\" does not exist")));
    let rule = Rule::new(binding, Arc::clone(role));
    let mut values = Vec::new();
    for described in &*tables {
        let view = described.roles.get(role).ok_or_else(unknown_role)?;
        values.extend(rule.casts(&described.table, view).map_err(raise)?);
    }
    values.sort_unstable();
    values.dedup();
    let casts = catalog.cast(values).await.map_err(fail)?;
    for (op, pattern) in rule.regexes() {
        if let Err(CatalogError::Refused { message, .. }) = catalog.check_regex(pattern).await {
            let message = format!("invalid regular expression for {op} filter: {message}");
            return Err(raise(Problem::new("P0001", message)));
        }
    }
    let mut asked = Vec::new();
    for described in &*tables {
        let view = described.roles.get(role).ok_or_else(unknown_role)?;
        let fitted = rule.fit(&described.table, view, &casts).map_err(raise)?;
        asked.extend(fitted.tests.iter().flat_map(|(_, test)| test.asks()).cloned());
    }
    catalog.check_questions(&asked).await.map_err(fail)?;
    let (binding, rule, casts) = (binding.clone(), Arc::new(rule), Arc::new(casts));
    Ok(Prepared { binding, rule, casts, tables })
}

/// Trying again does not help.
pub(super) fn refused(message: String) -> SubscribeError {
    SubscribeError { code: ErrorCode::RealtimeDisabledForConfiguration, message, retry: false }
}

/// The database is away.
pub(super) fn unavailable(error: &CatalogError) -> SubscribeError {
    tracing::warn!(
        code = %ErrorCode::UnableToSubscribeToPostgres, %error,
        "cannot prepare a subscription"
    );
    let message = "Unable to subscribe to changes: the database cannot be asked at the moment";
    let code = ErrorCode::UnableToSubscribeToPostgres;
    SubscribeError { code, message: message.to_owned(), retry: true }
}
