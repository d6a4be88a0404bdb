//! The daily partitions of `realtime.messages`: made ahead, dropped when old.
//!
//! Days are UTC. Everything happens under the advisory lock of the
//! migrations, so servers of one database do not get in each other's way.

use std::time::Duration;

use super::migrations::LOCK;
use crate::postgres::pool as pg;

/// Longest wait for a lock: dropping a partition locks the whole table, and
/// whoever queues behind a waiting lock waits too.
const LOCK_TIMEOUT: &str = "3s";

/// Creates the partitions for yesterday to three days ahead where they are
/// missing, and returns their names.
///
/// # Errors
/// Those of PostgreSQL.
pub async fn create(transaction: &pg::Transaction<'_>) -> Result<Vec<String>, pg::Error> {
    // A table of the first versions of Supabase Realtime has no partitions.
    let rows = transaction
        .query(
            "select 'messages_' || to_char(day, 'YYYY_MM_DD'), day::date::text, (day::date + 1)::text \
             from generate_series(-1, 3) as n, \
             lateral (select (now() at time zone 'utc')::date + n as day) as days \
             where to_regclass('realtime.messages_' || to_char(day, 'YYYY_MM_DD')) is null \
             and (select relkind = 'p' from pg_class where oid = to_regclass('realtime.messages'))",
            &[],
        )
        .await?;
    let mut created = Vec::with_capacity(rows.len());
    for row in rows {
        let (name, from, to): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        // The three are digits and underscores: nothing to quote.
        transaction
            .batch_execute(&format!(
                "create table realtime.{name} partition of realtime.messages \
                 for values from ('{from}') to ('{to}')"
            ))
            .await?;
        created.push(name);
    }
    Ok(created)
}

/// Creates what is missing, in a transaction of its own.
pub(super) async fn create_missing(client: &mut pg::Client) -> Result<Vec<String>, pg::Error> {
    let transaction = begin(client).await?;
    let created = create(&transaction).await?;
    transaction.commit().await?;
    Ok(created)
}

/// Drops the partitions of days before the day of `retention` ago, each in a
/// transaction of its own so that locks are short, and returns their names.
pub(super) async fn drop_expired(
    client: &mut pg::Client,
    retention: Duration,
) -> Result<Vec<String>, pg::Error> {
    let hours = i32::try_from(retention.as_secs() / 3600).unwrap_or(i32::MAX);
    let rows = client
        .query(
            "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid \
             where i.inhparent = to_regclass('realtime.messages') \
             and c.relnamespace = 'realtime'::regnamespace \
             and c.relname ~ '^messages_[0-9]{4}_[0-9]{2}_[0-9]{2}$' \
             and substr(c.relname, 10) \
               < to_char((now() at time zone 'utc') - make_interval(hours => $1), 'YYYY_MM_DD') \
             order by 1",
            &[&hours],
        )
        .await?;
    let mut dropped = Vec::with_capacity(rows.len());
    for row in rows {
        let name: String = row.get(0);
        let transaction = begin(client).await?;
        // Another server may have been faster.
        transaction.batch_execute(&format!("drop table if exists realtime.{name}")).await?;
        transaction.commit().await?;
        dropped.push(name);
    }
    Ok(dropped)
}

/// Deletes the messages whose sender gave them less time, and returns how many.
pub(super) async fn delete_expired(client: &pg::Client) -> Result<u64, pg::Error> {
    let sql = "select to_regclass('realtime.rowcast_expiries') is not null";
    if !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    client
        .execute(
            "with expired as ( \
               delete from realtime.rowcast_expiries \
               where expires_at <= now() at time zone 'utc' returning message) \
             delete from realtime.messages m using expired e where m.id = e.message",
            &[],
        )
        .await
}

/// How many partitions there are.
pub(super) async fn count(client: &pg::Client) -> Result<i64, pg::Error> {
    let sql = "select count(*) from pg_inherits where inhparent = to_regclass('realtime.messages')";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn begin(client: &mut pg::Client) -> Result<pg::Transaction<'_>, pg::Error> {
    let transaction = client.transaction().await?;
    let settings =
        format!("set local search_path = pg_catalog; set local lock_timeout = '{LOCK_TIMEOUT}'");
    transaction.batch_execute(&settings).await?;
    transaction.query("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(transaction)
}
