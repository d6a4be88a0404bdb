//! The rows of a bucket's rooms: copied as they are, and deleted.
//!
//! Each is one transaction, which begins by telling the streams that nothing
//! happened in the rooms, and in which the chat's own triggers stand aside.

use std::pin::pin;

use futures_util::SinkExt as _;

use super::{MoveError, at};
use crate::postgres::pool::{Client, Error, Transaction};

/// The tables with their column that names the room, in an order in which
/// foreign keys hold.
const TABLES: [(&str, &str); 6] = [
    ("rooms", "id"),
    ("room_members", "room_id"),
    ("messages", "room_id"),
    ("message_receipts", "room_id"),
    ("message_reactions", "room_id"),
    ("message_revisions", "room_id"),
];

/// Rows of a table, by the bucket of their rooms.
fn of(column: &str, bucket: u16) -> String {
    format!("{column} in (select r.id from public.rooms r where chat.bucket(r.id) = {bucket})")
}

async fn begin(client: &mut Client, bucket: u16) -> Result<Transaction<'_>, Error> {
    let transaction = client.transaction().await?;
    let script = format!(
        "set local chat.moving = 'on'; set local lock_timeout = '5s'; \
         insert into chat.moves (bucket) values ({bucket})"
    );
    transaction.batch_execute(&script).await?;
    Ok(transaction)
}

/// Deletes them, if there are any.
pub(super) async fn delete(
    client: &mut Client,
    shard: usize,
    bucket: u16,
) -> Result<(), MoveError> {
    let look = format!("select exists (select from public.rooms where chat.bucket(id) = {bucket})");
    if !client.query_one(&look, &[]).await.map_err(at(shard))?.get::<_, bool>(0) {
        return Ok(());
    }
    let transaction = begin(client, bucket).await.map_err(at(shard))?;
    for (table, column) in TABLES.into_iter().rev() {
        let sql = format!("delete from public.{table} where {}", of(column, bucket));
        transaction.batch_execute(&sql).await.map_err(at(shard))?;
    }
    transaction.commit().await.map_err(at(shard))
}

/// Copies them, with every column that the source has.
pub(super) async fn copy(
    source: &mut Client,
    from: usize,
    target: &mut Client,
    to: usize,
    bucket: u16,
) -> Result<(), MoveError> {
    let reading = source.transaction().await.map_err(at(from))?;
    let writing = begin(target, bucket).await.map_err(at(to))?;
    for (table, column) in TABLES {
        let columns = "select string_agg(quote_ident(attname), ', ' order by attnum) \
             from pg_attribute where attrelid = $1::text::regclass and attnum > 0 \
             and not attisdropped and attgenerated = ''";
        let row = reading.query_one(columns, &[&format!("public.{table}")]).await;
        let columns: String = row.map_err(at(from))?.get(0);
        let out = format!(
            "copy (select {columns} from public.{table} where {}) to stdout",
            of(column, bucket)
        );
        let rows = reading.copy_out(&out).await.map_err(at(from))?;
        let into = format!("copy public.{table} ({columns}) from stdin");
        let sink = writing.copy_in(&into).await.map_err(at(to))?;
        let (mut rows, mut sink) = (pin!(rows), pin!(sink));
        sink.send_all(&mut rows).await.map_err(at(to))?;
        sink.finish().await.map_err(at(to))?;
    }
    writing.commit().await.map_err(at(to))?;
    reading.rollback().await.map_err(at(from))
}
