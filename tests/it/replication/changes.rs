//! What comes out of a stream that nothing disturbs.

use super::*;

#[tokio::test]
async fn each_kind_of_change_arrives_as_it_was_made() {
    let bench = Bench::start(
        &[],
        "create table t (id int primary key, body text, big text); \
         alter table t alter big set storage external; \
         create table f (id int primary key, body text); alter table f replica identity full; \
         create table other (id int); \
         create publication supabase_realtime for table t, f",
    )
    .await;
    let publications =
        bench.number("select count(*) from pg_publication where not puballtables").await;
    assert_eq!(publications, 2, "the second was created, empty");
    bench
        .run(
            "begin; insert into t values (1, 'a', repeat('x', 5000)), (2, null, ''); \
             insert into other values (1); commit; \
             begin; insert into t values (9, 'rolled back', ''); rollback; \
             update t set body = 'b' where id = 1; \
             update t set id = 3 where id = 2; \
             delete from t where id = 3; \
             insert into f values (1, 'old'); update f set body = 'new'; delete from f; \
             truncate t, f; \
             alter table t add more timestamptz, drop body; \
             insert into t values (4, '', '2024-01-02 03:04:05.5+02')",
        )
        .await;
    let changes = bench.recorder.wait_changes(11).await;
    assert_eq!(
        changes,
        [
            "insert t 1|a|5000 bytes",
            "insert t 2|null|",
            "update t - => 1|b|unchanged",
            "update t 2|null|null => 3|null|",
            "delete t 3|null|null",
            "insert f 1|old",
            "update f 1|old => 1|new",
            "delete f 1|new",
            "truncate t",
            "truncate f",
            "insert t 4||2024-01-02 01:04:05.5+00",
        ]
    );
    bench.recorder.assert_ordered();
    bench.stop().await;
}

#[tokio::test]
async fn a_large_transaction_arrives_in_several_batches() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t select n, 'x' from generate_series(1, 2500) n").await;
    bench.recorder.wait_changes(2500).await;
    bench.run("insert into t values (0, repeat('x', 3000000)), (-1, '')").await;
    bench.recorder.wait_changes(2502).await;
    let batches = bench.recorder.seen.lock().unwrap().batches.clone();
    assert_eq!(batches, [(1000, false), (1000, false), (500, true), (1, false), (1, true)]);
    bench.recorder.assert_ordered();
    bench.stop().await;
}
