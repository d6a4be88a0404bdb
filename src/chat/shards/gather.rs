//! What concerns a user and not a room: asked of every shard, and put together.
//!
//! A shard that does not answer fails the whole: a part of a list must not pass
//! for all of it.

use std::cmp::Reverse;

use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    chat::{Chat, ChatError, call::Function},
    error_code::ErrorCode,
    tenants::Caller,
};

/// Shards asked at a time.
const AT_ONCE: usize = 4;

/// How often a list is made again because rooms moved meanwhile.
const ATTEMPTS: u32 = 5;

/// A question under way.
type Asked<'a, T> = BoxFuture<'a, Result<T, ChatError>>;

/// One shard's page of rooms.
#[derive(Deserialize)]
struct Page {
    rooms: Vec<Entry>,
    next: Option<String>,
}

/// A room and where it is in the order of the list: microseconds since 1970 of
/// its last message, then its id.
#[derive(Deserialize)]
struct Entry {
    at: i64,
    id: Uuid,
    room: Box<RawValue>,
}

impl Entry {
    fn key(&self) -> (i64, Uuid) {
        (self.at, self.id)
    }
}

impl Chat {
    /// Asks every shard the same as the caller. The answers are in the shards'
    /// order.
    pub(in crate::chat) async fn ask_all_as(
        &self,
        caller: Caller<'_>,
        query: &str,
    ) -> Result<Vec<String>, ChatError> {
        let ask =
            |pool| -> Asked<'_, String> { Box::pin(self.query_in(pool, caller, None, query)) };
        let asked: Vec<_> = self.0.shards.pools.iter().map(ask).collect();
        stream::iter(asked).buffered(AT_ONCE).try_collect().await
    }

    /// The same as the server itself, any number of rows each.
    pub(in crate::chat) async fn ask_all(&self, query: &str) -> Result<Vec<String>, ChatError> {
        let ask = |shard| -> Asked<'_, Vec<String>> { Box::pin(self.ask(shard, query)) };
        let asked: Vec<_> = (0..self.0.shards.pools.len()).map(ask).collect();
        let rows: Vec<Vec<String>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The caller's rooms in all shards, as `chat.rooms` has them in one.
    pub(in crate::chat) async fn rooms_in_all(
        &self,
        caller: Caller<'_>,
        before: Option<&str>,
        limit: i32,
    ) -> Result<String, ChatError> {
        let function = Function::new("rooms").number(limit).text(before);
        // The order is that of chat.rooms, but in numbers instead of time stamps.
        let query = format!(
            "select jsonb_build_object('next', p.page -> 'next', 'rooms', coalesce((\
               select jsonb_agg(jsonb_build_object('id', r -> 'id', 'room', r, 'at', (extract(epoch from \
                 coalesce(r ->> 'last_message_at', r ->> 'created_at')::timestamptz) * 1000000)::bigint)) \
               from jsonb_array_elements(p.page -> 'rooms') r), '[]'))::text \
             from (select {} as page) p",
            function.expression()
        );
        let limit = usize::try_from(limit).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let Some(map) = self.0.shards.map() else { break };
            let answers = Box::pin(self.ask_all_as(caller, &query)).await?;
            let pages = answers.iter().map(|json| serde_json::from_str(json));
            let pages: Vec<Page> = pages.collect::<Result<_, _>>().map_err(|error| {
                tracing::error!(
                    code = %ErrorCode::ErrorRunningQuery, %error,
                    "a shard's list of rooms cannot be read"
                );
                ChatError::unavailable()
            })?;
            Box::pin(self.0.shards.reload()).await?;
            // While the map was true each shard had all the rooms it is to have.
            if self.0.shards.map().is_some_and(|now| now.version() == map.version()) {
                return Ok(merge(pages.into_iter().enumerate().collect(), limit, |room| {
                    map.of(room)
                }));
            }
        }
        Err(ChatError::unavailable())
    }
}

/// Puts pages of shards together, each of its own rooms only: while a room
/// moves, its rows are in two shards.
fn merge(pages: Vec<(usize, Page)>, limit: usize, shard_of: impl Fn(Uuid) -> usize) -> String {
    // Below the end of a page that is not the last one, that shard may have more.
    let known_down_to = pages
        .iter()
        .filter(|(_, page)| page.next.is_some())
        .filter_map(|(_, page)| page.rooms.iter().map(Entry::key).min());
    let known_down_to = known_down_to.max();
    let mut entries: Vec<Entry> = pages
        .into_iter()
        .flat_map(|(shard, page)| page.rooms.into_iter().map(move |entry| (shard, entry)))
        .filter(|(shard, entry)| shard_of(entry.id) == *shard)
        .map(|(_, entry)| entry)
        .collect();
    entries.sort_by_key(|entry| Reverse(entry.key()));
    let total = entries.len();
    entries.retain(|entry| known_down_to.is_none_or(|end| entry.key() >= end));
    entries.truncate(limit);
    let has_more = known_down_to.is_some() || entries.len() < total;
    let end = match entries.last() {
        Some(last) if entries.len() == limit => Some(last.key()),
        _ => known_down_to,
    };
    let next = end.filter(|_| has_more);
    let next = next.map_or_else(|| "null".to_owned(), |(at, id)| format!("\"{at}_{id}\""));
    let rooms: Vec<&str> = entries.iter().map(|entry| entry.room.get()).collect();
    format!(r#"{{"next": {next}, "rooms": [{}]}}"#, rooms.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rooms: &[(i64, u128)], has_next: bool) -> Page {
        let entry = |&(at, id): &(i64, u128)| Entry {
            at,
            id: Uuid::from_u128(id),
            room: RawValue::from_string(id.to_string()).unwrap(),
        };
        Page { rooms: rooms.iter().map(entry).collect(), next: has_next.then(String::new) }
    }

    fn list(pages: Vec<(usize, Page)>, limit: usize) -> (Vec<u128>, Option<String>) {
        #[derive(Deserialize)]
        struct List {
            rooms: Vec<u128>,
            next: Option<String>,
        }
        // Rooms are in the shards of their last digits.
        let shard_of = |room: Uuid| usize::try_from(room.as_u128() % 10).unwrap();
        let list: List = serde_json::from_str(&merge(pages, limit, shard_of)).unwrap();
        (list.rooms, list.next)
    }

    fn next(at: i64, id: u128) -> Option<String> {
        Some(format!("{at}_{}", Uuid::from_u128(id)))
    }

    #[test]
    fn lists_are_merged_by_time_and_cut_at_the_limit() {
        let pages = || vec![(0, page(&[(9, 10), (5, 20)], false)), (1, page(&[(7, 11)], false))];
        assert_eq!(list(pages(), 10), (vec![10, 11, 20], None));
        assert_eq!(list(pages(), 3), (vec![10, 11, 20], None));
        assert_eq!(list(pages(), 2), (vec![10, 11], next(7, 11)));
    }

    #[test]
    fn what_may_come_after_a_full_page_is_left_to_the_next() {
        let pages =
            vec![(0, page(&[(9, 10), (8, 20)], true)), (1, page(&[(7, 11), (6, 21)], true))];
        assert_eq!(list(pages, 2), (vec![10, 20], next(8, 20)));
        // A copy that does not count leaves a hole, not a wrong order.
        let pages = vec![(0, page(&[(9, 10), (8, 21)], true)), (1, page(&[(7, 11)], false))];
        assert_eq!(list(pages, 2), (vec![10], next(8, 21)));
    }

    #[test]
    fn a_room_that_moves_is_listed_once() {
        let pages = vec![(0, page(&[(9, 10)], false)), (1, page(&[(9, 10), (8, 11)], false))];
        assert_eq!(list(pages, 10), (vec![10, 11], None));
    }
}
