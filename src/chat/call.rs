//! One function of the schema `chat`, called as the caller in one round trip.
//!
//! The rules are the functions' and the tables' row security. Here is only how
//! they are reached, with everything quoted.

use std::{fmt::Write as _, time::Duration};

use postgres_protocol::escape::escape_literal;
use uuid::Uuid;

use crate::{postgres::pool::Pool, tenants::Caller};

use super::{Chat, ChatError, shards};

/// A call may take this long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// A call under construction: `chat.name(…)` with its arguments in order.
#[derive(Debug)]
pub(super) struct Function {
    text: String,
    has_arguments: bool,
}

impl Function {
    pub(super) fn new(name: &str) -> Self {
        Self { text: format!("chat.{name}("), has_arguments: false }
    }

    fn argument(mut self, argument: impl std::fmt::Display) -> Self {
        let comma = if self.has_arguments { ", " } else { "" };
        self.has_arguments = true;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{comma}{argument}");
        self
    }

    pub(super) fn uuid(self, value: impl Into<Option<Uuid>>) -> Self {
        match value.into() {
            Some(id) => self.argument(format_args!("'{id}'::uuid")),
            None => self.argument("null::uuid"),
        }
    }

    pub(super) fn uuids(self, ids: &[Uuid]) -> Self {
        let list: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        self.argument(format_args!("'{{{}}}'::uuid[]", list.join(",")))
    }

    pub(super) fn text<'a>(self, value: impl Into<Option<&'a str>>) -> Self {
        match value.into() {
            Some(text) => self.argument(format_args!("{}::text", escape_literal(text))),
            None => self.argument("null::text"),
        }
    }

    /// Any whole number: without a type, so that it fits what the function takes.
    pub(super) fn number(self, value: impl Into<i64>) -> Self {
        self.argument(value.into())
    }

    pub(super) fn optional(self, value: Option<impl Into<i64>>) -> Self {
        match value {
            Some(number) => self.number(number),
            None => self.argument("null"),
        }
    }

    /// The call as an expression.
    pub(super) fn expression(&self) -> String {
        format!("{})", self.text)
    }

    pub(super) fn sql(&self) -> String {
        // Without a row the settings' would be taken for the answer.
        format!("select coalesce({}::text, 'null')", self.expression())
    }
}

impl Chat {
    /// Calls a function about a room as the caller and returns the JSON text of
    /// its result. The transaction has committed then.
    pub(super) async fn call(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        function: &Function,
    ) -> Result<String, ChatError> {
        self.require()?;
        let query = function.sql();
        if self.0.shards.is_spread() {
            return Box::pin(self.in_shard(caller, room, &query)).await;
        }
        Box::pin(self.query_in(self.0.shards.pool(0)?, caller, None, &query)).await
    }

    /// Any query in one database, whose last row is the answer. Refused unless
    /// `room`, if one is given, is in that database.
    pub(super) async fn query_in(
        &self,
        pool: &Pool,
        caller: Caller<'_>,
        room: Option<Uuid>,
        query: &str,
    ) -> Result<String, ChatError> {
        if query.contains('\0') {
            return Err(ChatError::bad_request("A text must not have a zero byte."));
        }
        let (timeout, settings) = (TIMEOUT.as_millis(), caller.settings());
        let check = room.map(|room| format!("{}; ", shards::check(room))).unwrap_or_default();
        let script = format!(
            "begin; set local statement_timeout = {timeout}; {check}{settings}; {query}; commit"
        );
        let mut rows = Box::pin(pool.run(TIMEOUT, &script)).await?;
        rows.pop().ok_or_else(ChatError::unavailable)
    }

    /// Any query as the server itself, in one database.
    pub(super) async fn ask(&self, shard: usize, query: &str) -> Result<Vec<String>, ChatError> {
        let timeout = TIMEOUT.as_millis();
        let script =
            format!("begin read only; set local statement_timeout = {timeout}; {query}; commit");
        Ok(Box::pin(self.0.shards.pool(shard)?.run(TIMEOUT, &script)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_and_typed() {
        let function =
            Function::new("send").uuid(Uuid::nil()).text("it's \\").uuid(None).number(-1_i64);
        let id = Uuid::nil();
        assert_eq!(
            function.sql(),
            format!(
                "select coalesce(chat.send('{id}'::uuid,  E'it''s \\\\'::text, null::uuid, \
                 -1)::text, 'null')"
            )
        );
        assert_eq!(Function::new("f").uuids(&[id]).text, format!("chat.f('{{{id}}}'::uuid[]"));
    }
}
