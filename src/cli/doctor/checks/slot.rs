//! The replication slot: whose it is, and what it holds back.

use super::{super::super::connect::pg, Patient, size};
use crate::cli::doctor::report::Report;

const SQL: &str = "select quote_literal(s.slot_name) as name, s.active, \
      coalesce(s.database = current_database() and s.plugin = 'pgoutput', false) as is_ours, \
      coalesce(s.wal_status = 'lost', false) as is_lost, \
      coalesce(pg_wal_lsn_diff(w.now, s.restart_lsn), 0)::int8 as held, \
      coalesce(pg_wal_lsn_diff(w.now, s.confirmed_flush_lsn), 0)::int8 as behind, \
      (select setting::int8 from pg_settings where name = 'max_slot_wal_keep_size') as keeps_mb \
    from pg_replication_slots s, (select case when pg_is_in_recovery() \
      then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end) w(now) \
    where s.slot_name = $1";

pub(super) async fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let wanted = &patient.settings.replication;
    let slot = &wanted.slot_name;
    let Some(row) = patient.client.query_opt(SQL, &[slot]).await? else {
        report.checked("slot", format!("{slot} does not exist yet; the server makes it"));
        return Ok(());
    };
    let active: bool = row.get("active");
    let (held, behind): (i64, i64) = (row.get("held"), row.get("behind"));
    let budget = i64::try_from(wanted.wal_budget_bytes).unwrap_or(i64::MAX);
    // PostgreSQL gives the slot up at its own limit, -1 for none.
    let limit = match row.get::<_, i64>("keeps_mb") {
        keeps if keeps < 0 => budget,
        keeps => budget.min(keeps << 20),
    };
    let use_of = if active { "in use" } else { "not in use" };
    report
        .checked("slot", format!("{slot}, {use_of}, holds back {} of {}", size(held), size(limit)));

    let drop = format!("select pg_drop_replication_slot({})", row.get::<_, &str>("name"));
    if !row.get::<_, bool>("is_ours") {
        let what = format!(
            "The slot {slot} belongs to another database or another program: the server cannot read changes."
        );
        report
            .error("slot_foreign", what)
            .by("set ROWCAST_SLOT_NAME to another name, or drop the slot if nobody needs it")
            .sql(drop);
    } else if row.get("is_lost") {
        let what = format!(
            "PostgreSQL has removed log that the slot {slot} needs: changes are lost, and its subscribers are told of a gap when the server makes it anew."
        );
        report
            .error("slot_lost", what)
            .sql(drop)
            .by("raise max_slot_wal_keep_size if servers are off for longer than it lasts");
    } else if held.min(behind) > limit / 2 {
        let what = format!(
            "The slot {slot} holds back {} of the {} after which it is given up and changes are lost.",
            size(held),
            size(limit)
        );
        let finding = report.warning("slot_behind", what);
        match active {
            true => finding.by("look at the server's log and rowcast_ metrics for what holds it up, or raise ROWCAST_WAL_BUDGET_MB"),
            false => finding.by("start the server, or drop the slot if none is to read it").sql(drop),
        };
    } else if !active {
        let what = format!(
            "Nobody reads the slot {slot}, and PostgreSQL keeps all log for it: {} by now.",
            size(held)
        );
        report
            .note("slot_inactive", what)
            .by("start the server, or drop the slot if none is to read it")
            .sql(drop);
    }
    Ok(())
}
