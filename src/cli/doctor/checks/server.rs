//! The PostgreSQL server: its version, what it allows, its clock.

use std::time::Duration;

use super::{super::super::connect::pg, Patient};
use crate::{cli::doctor::report::Report, runtime::clock};

const SQL: &str = "select current_setting('server_version') as version, \
      pg_is_in_recovery() as is_standby, \
      current_setting('wal_level') as wal_level, \
      current_setting('max_replication_slots')::int as slots, \
      (select count(*)::int from pg_replication_slots) as slots_used, \
      exists (select from pg_replication_slots where slot_name = $1) as has_slot, \
      current_setting('max_wal_senders')::int as senders, \
      (select count(*)::int from pg_stat_replication) as senders_used, \
      exists (select from pg_replication_slots where slot_name = $1 and active) as streams, \
      current_setting('statement_timeout') as statement, \
      (select setting::int from pg_settings where name = 'statement_timeout') as statement_ms, \
      coalesce(current_setting('idle_session_timeout', true), '0') as idle, \
      current_setting('wal_sender_timeout') as sender_timeout, \
      extract(epoch from clock_timestamp())::float8 as now";

/// Statements that take longer are rare and not to be cut off.
const SHORT: i32 = 30_000;

/// Clocks this far apart are one clock.
const SKEW: f64 = 2.0;

pub(super) async fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let slot = &patient.settings.replication.slot_name;
    let before = clock::unix_time();
    let row = patient.client.query_one(SQL, &[slot]).await?;
    let after = clock::unix_time();

    let version: &str = row.get("version");
    let is_standby: bool = row.get("is_standby");
    let wal_level: &str = row.get("wal_level");
    let slots: [i32; 2] = [row.get("slots"), row.get("slots_used")];
    let senders: [i32; 2] = [row.get("senders"), row.get("senders_used")];
    report.checked(
        "server",
        format!(
            "PostgreSQL {version}, wal_level {wal_level}, {} of {} replication slots and {} of {} WAL senders free",
            slots[0] - slots[1],
            slots[0],
            senders[0] - senders[1],
            senders[0]
        ),
    );

    if !patient.is_supported() {
        let what = format!(
            "PostgreSQL {version} is too old: the server needs 14 or newer and does not start."
        );
        report.error("postgres_version", what).by("upgrade PostgreSQL, or name another database");
        return Ok(());
    }
    if is_standby {
        let what = "The database is a standby: the SQL objects cannot be installed here, and messages cannot be stored.";
        let finding = match patient.version >= 160_000 {
            true => report.warning("standby", what),
            // Decoding on a standby came with 16.
            false => report.error("standby", what),
        };
        finding.by("name the primary in DATABASE_URL");
    }
    if wal_level != "logical" {
        let what = format!(
            "wal_level is {wal_level}, so changes cannot be read from the log: no change and no message of the database reaches a client."
        );
        let finding = report.error("wal_level", what);
        finding.sql("alter system set wal_level = 'logical'").by(RESTART);
    }
    if slots[1] >= slots[0] && !row.get::<_, bool>("has_slot") {
        let what = format!(
            "All {} replication slots are taken, so the server cannot make its own: no change reaches a client.",
            slots[0]
        );
        report
            .error("replication_slots", what)
            .sql(format!("alter system set max_replication_slots = {}", slots[1] + 5))
            .by(RESTART);
    }
    if senders[1] >= senders[0] && !row.get::<_, bool>("streams") {
        let what = format!(
            "All {} WAL senders are busy, so the server cannot stream: no change reaches a client.",
            senders[0]
        );
        report
            .error("wal_senders", what)
            .sql(format!("alter system set max_wal_senders = {}", senders[1] + 5))
            .by(RESTART);
    }
    timeouts(patient, &row, report);
    clock_skew(before, after, row.get("now"), report);
    Ok(())
}

const RESTART: &str =
    "restart PostgreSQL; where a provider runs it, change the setting with its means instead";

/// What cuts off our sessions.
fn timeouts(patient: &Patient<'_>, row: &pg::Row, report: &mut Report) {
    let statement: i32 = row.get("statement_ms");
    if statement > 0 && statement < SHORT {
        let what = format!(
            "statement_timeout is {} for {}: making the slot while transactions are open, and a migration of a large table, are cut off.",
            row.get::<_, &str>("statement"),
            patient.role
        );
        report.warning("statement_timeout", what).sql(patient.set("statement_timeout = 0"));
    }
    let idle: &str = row.get("idle");
    if idle != "0" {
        let what = format!(
            "idle_session_timeout is {idle} for {}: connections of the pool are closed while nothing happens, and what comes next waits for a new login.",
            patient.role
        );
        report.note("idle_session_timeout", what).sql(patient.set("idle_session_timeout = 0"));
    }
    if row.get::<_, &str>("sender_timeout") == "0" {
        let what = "wal_sender_timeout is 0: after a server has vanished with its machine, PostgreSQL keeps the slot for it, and no other server gets it.";
        report.warning("wal_sender_timeout", what).sql(patient.set("wal_sender_timeout = '60s'"));
    }
}

/// How far the database's clock is off, beyond what the question took.
fn skew(before: Duration, after: Duration, theirs: f64) -> f64 {
    let early = before.as_secs_f64() - theirs;
    let late = theirs - after.as_secs_f64();
    early.max(late).max(0.0)
}

fn clock_skew(before: Duration, after: Duration, theirs: f64, report: &mut Report) {
    let skew = skew(before, after, theirs);
    if skew > SKEW {
        let what = format!(
            "The clocks of this machine and the database differ by {skew:.0} seconds: tokens expire by this one, and messages and their partitions go by that one."
        );
        report.warning("clock_skew", what).by("let both take the time from one source (NTP)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_within_the_question_is_right() {
        let (before, after) = (Duration::from_secs(100), Duration::from_secs(104));
        assert_eq!(skew(before, after, 102.0), 0.0);
        assert_eq!(skew(before, after, 97.0), 3.0);
        assert_eq!(skew(before, after, 110.0), 6.0);
        let mut report = Report::default();
        clock_skew(before, after, 105.0, &mut report);
        assert_eq!(report.json()["warnings"], 0);
        clock_skew(before, after, 160.0, &mut report);
        assert_eq!(report.json()["findings"][0]["code"], "clock_skew");
    }
}
