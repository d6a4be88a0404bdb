//! What happens to slots and publications, and which of it is a gap.

use super::*;

#[tokio::test]
async fn a_dropped_slot_is_a_gap_and_a_new_history() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    let before = bench.wait_streaming().await;
    // Terminated and dropped in one go, before the stream is back.
    bench
        .run(
            "do $$ begin loop \
               perform pg_terminate_backend(active_pid) from pg_replication_slots where active; \
               begin perform pg_drop_replication_slot('rowcast'); exit; \
               exception when object_in_use then null; end; \
             end loop; end $$",
        )
        .await;
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::NewSlot));
    assert_ne!(start.epoch, before);
    bench.run("insert into t values (2)").await;
    assert_eq!(bench.recorder.wait_changes(2).await[1], "insert t 2|null");
    bench.stop().await;
}

#[tokio::test]
async fn a_slot_moved_by_others_is_a_gap() {
    let bench = Bench::start(&[], TABLE).await;
    // A sink in the middle of a delivery keeps the stream from coming back.
    bench.recorder.open.send_replace(false);
    bench.run("insert into t values (1)").await;
    eventually("a delivery begins", async || {
        (bench.recorder.seen.lock().unwrap().begun > 0).then_some(())
    })
    .await;
    bench.run("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    eventually("the slot is free", async || {
        let active = "select count(*) from pg_replication_slots where active";
        (bench.number(active).await == 0).then_some(())
    })
    .await;
    bench.run("insert into t values (2)").await;
    bench.run("select pg_replication_slot_advance('rowcast', pg_current_wal_lsn())").await;
    bench.recorder.open.send_replace(true);
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::SlotAhead));
    bench.run("insert into t values (3)").await;
    let changes = bench.recorder.wait_changes(1).await;
    assert!(!changes.contains(&"insert t 2|null".to_owned()), "{changes:?}");
    eventually("the stream goes on", async || {
        bench.recorder.changes().contains(&"insert t 3|null".to_owned()).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_publication_made_anew_does_not_wedge_the_stream() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    bench
        .run(
            "drop publication supabase_realtime; insert into t values (2); \
             create publication supabase_realtime for table t",
        )
        .await;
    // Version 18 goes on, and what was not published then is not missed.
    if bench.number("select current_setting('server_version_num')::bigint").await < 180_000 {
        let start = bench.recorder.wait_starts(2).await;
        assert_eq!(start.gap, Some(Gap::SlotAhead));
    }
    bench.wait_streaming().await;
    bench.run("insert into t values (3)").await;
    let changes = bench.recorder.wait_changes(2).await;
    assert_eq!(changes, ["insert t 1|null", "insert t 3|null"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_new_process_goes_on_where_the_last_one_stopped() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    stop(&bench.drain).await;
    bench.run("insert into t values (2)").await;
    let (recorder, drain, _) = spawn(Config::new(bench.server.config()));
    let start = recorder.wait_starts(1).await;
    assert_eq!(start.gap, None);
    assert_ne!(start.epoch, bench.recorder.starts()[0].epoch);
    assert_eq!(recorder.wait_changes(1).await, ["insert t 2|null"]);
    stop(&drain).await;
}

#[tokio::test]
async fn a_slot_whose_log_was_removed_is_a_gap() {
    let bench = Bench::start(&["max_slot_wal_keep_size=1MB", "max_wal_size=32MB"], TABLE).await;
    stop(&bench.drain).await;
    eventually("the slot is lost", async || {
        bench.run("insert into t values (1); delete from t").await;
        bench.run("select pg_switch_wal()").await;
        bench.run("checkpoint").await;
        let lost = "select count(*) from pg_replication_slots where wal_status = 'lost'";
        (bench.number(lost).await == 1).then_some(())
    })
    .await;
    let (recorder, drain, _) = spawn(Config::new(bench.server.config()));
    assert_eq!(recorder.wait_starts(1).await.gap, Some(Gap::NewSlot));
    bench.run("insert into t values (2)").await;
    assert_eq!(recorder.wait_changes(1).await, ["insert t 2|null"]);
    stop(&drain).await;
}

#[tokio::test]
async fn an_open_transaction_delays_a_new_slot_and_nothing_else() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    client.batch_execute(TABLE).await.unwrap();
    client
        .batch_execute("create publication supabase_realtime_messages_publication")
        .await
        .unwrap();
    let open = server.client().await;
    open.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    let waits = |status: &Status| matches!(status, Status::Starting { detail } if detail.contains("open transactions"));
    let (_, drain, handle) = spawn(Config::new(server.config()));
    wait_status(&handle, waits).await;
    stop(&drain).await;
    // The server notices that the first is gone and gives its half-made slot up.
    let (recorder, drain, handle) = spawn(Config::new(server.config()));
    wait_status(&handle, waits).await;
    open.batch_execute("commit").await.unwrap();
    recorder.wait_starts(1).await;
    stop(&drain).await;
}

#[tokio::test]
async fn a_slot_that_others_hold_back_survives_a_reconnect() {
    let sql = format!("{TABLE} create table other (id int);");
    let bench =
        Bench::start_with(&[], &sql, |config| config.wal_budget_bytes = Some(1 << 20)).await;
    let open = bench.server.client().await;
    open.batch_execute("begin; insert into other values (1)").await.unwrap();
    bench.run("insert into t select n, repeat('x', 500) from generate_series(1, 8000) n").await;
    bench.recorder.wait_changes(8000).await;
    eventually("all is confirmed, and the log is kept all the same", async || {
        let held = "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 \
                    from pg_replication_slots";
        let held = bench.number(held).await;
        assert!(held > 1 << 20, "{held}");
        (bench.lag().await < 1 << 20).then_some(())
    })
    .await;
    bench.run("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    assert_eq!(bench.recorder.wait_starts(2).await.gap, None);
    open.batch_execute("commit").await.unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn a_temporary_slot_says_that_it_loses() {
    let bench = Bench::start_with(&[], TABLE, |config| config.temporary = true).await;
    bench.run("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    let broken = bench.wait_broken().await;
    assert!(!broken.is_live());
    assert_eq!(bench.recorder.wait_starts(2).await.gap, Some(Gap::NewSlot));
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    stop(&bench.drain).await;
    eventually("the slot is gone", async || {
        let count = bench.number("select count(*) from pg_replication_slots").await;
        (count == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slot_of_another_kind_is_left_alone() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    client.batch_execute("select pg_create_physical_replication_slot('rowcast')").await.unwrap();
    let (_, drain, handle) = spawn(Config::new(server.config()));
    let status = wait_status(&handle, |status| matches!(status, Status::Failed { .. })).await;
    assert!(format!("{status:?}").contains("belongs to plugin (none)"), "{status:?}");
    stop(&drain).await;
}

#[tokio::test]
async fn a_promotion_begins_a_new_history_even_if_the_slot_is_there() {
    let mut bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    let before = bench.wait_streaming().await;
    // Nobody else gets in until it is promoted: from 16 on the stream would go
    // on at the standby and live through the promotion.
    bench.server.authenticate("local all all trust\n").await;
    bench.server.stop().await;
    bench.wait_broken().await;
    std::fs::write(bench.server.data().join("standby.signal"), "").unwrap();
    bench.server.resume().await;
    bench.client = bench.server.client_over_socket().await;
    bench.run("select pg_promote()").await;
    bench
        .server
        .authenticate(
            "local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n",
        )
        .await;
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::NewHistory));
    assert_eq!(start.epoch.system_id, before.system_id);
    assert!(start.epoch.timeline > before.timeline, "{start:?}");
    bench.run("insert into t values (2)").await;
    // A new history may repeat what the server had not stored as confirmed.
    eventually("the stream goes on", async || {
        bench.recorder.changes().last().is_some_and(|last| last == "insert t 2|null").then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_backup_that_is_put_back_is_a_new_history() {
    let mut bench = Bench::start(&[], TABLE).await;
    bench.server.stop().await;
    bench.wait_broken().await;
    let copy = bench.server.copy_data();
    bench.server.resume().await;
    bench.wait_streaming().await;
    bench.client = bench.server.client().await;
    bench.run("insert into t select n, repeat('x', 500) from generate_series(1, 2000) n").await;
    bench.recorder.wait_changes(2000).await;
    bench.server.stop().await;
    bench.wait_broken().await;
    bench.server.put_back(copy);
    bench.server.resume().await;
    assert_eq!(bench.recorder.wait_starts(3).await.gap, Some(Gap::NewHistory));
    bench.client = bench.server.client().await;
    bench.run("insert into t values (1)").await;
    assert_eq!(bench.recorder.wait_changes(2001).await[2000], "insert t 1|null");
    bench.stop().await;
}
