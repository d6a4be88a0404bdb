//! Numbers: a room's messages are 1, 2, 3 … whatever happens beside.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Bench, ROOM, person};

const OTHER: &str = "10000000-0000-4000-8000-000000000001";

#[tokio::test]
async fn twenty_writers_leave_no_hole_that_anybody_could_see() {
    let bench = Bench::with_room(&["bob"]).await;
    bench.sql(&format!("insert into rooms (id) values ('{OTHER}')")).await;
    let writers = join_all((0..20).map(async |writer| {
        let user = bench.user("bob").await;
        let dba = bench.server.client().await;
        for n in 0..10 {
            let id = format!("30000000-0000-4000-8000-{:012}", writer * 100 + n);
            let send = format!("chat.send('{ROOM}', '{id}', 'text')");
            user.get(&send).await;
            assert_eq!(user.get(&send).await["duplicate"], true);
            // Undone, skipped, and an id that somebody uses in another room at the same time.
            let shared = format!("40000000-0000-4000-8000-{n:012}");
            let room = if writer % 2 == 0 { ROOM } else { OTHER };
            dba.batch_execute(&format!(
                "begin; insert into messages (room_id, sender_id, content)
                   select '{ROOM}', gen_random_uuid(), 'gone' from generate_series(1, 3); rollback;
                 insert into messages (id, room_id, sender_id, content)
                   values ('{id}', '{ROOM}', gen_random_uuid(), 'again') on conflict do nothing"
            ))
            .await
            .unwrap();
            dba.batch_execute(&format!(
                "insert into messages (id, room_id, sender_id, content) values
                   ('{shared}', '{room}', gen_random_uuid(), 'one'), (gen_random_uuid(), '{room}', gen_random_uuid(), 'two')
                   on conflict (id) do nothing"
            ))
            .await
            .unwrap();
        }
    }));
    let reader = async {
        for _ in 0..50 {
            let seen = bench
                .value(&format!(
                    "select jsonb_build_array(count(*), coalesce(max(seq), 0)) from messages where room_id = '{ROOM}'"
                ))
                .await;
            assert_eq!(seen[0], seen[1], "a snapshot shows a hole");
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(writers, reader);
    let numbers = bench
        .value(
            "select jsonb_agg(jsonb_build_array(r.last_seq, r.last_rev, n.count, n.seq, n.distinct, n.rev)) from rooms r,
             lateral (select count(*), max(seq) seq, count(distinct seq) as distinct, max(rev) rev
               from messages where room_id = r.id) n where n.count > 0",
        )
        .await;
    for room in numbers.as_array().unwrap() {
        let room = room.as_array().unwrap();
        assert!(room.iter().all(|number| number == &room[0]), "{room:?}");
    }
    assert_eq!(bench.value("select count(*) from messages").await, 200 + 200 + 10);
}

#[tokio::test]
async fn a_plain_insert_of_a_dba_is_as_good() {
    let bench = Bench::with_room(&[]).await;
    bench
        .sql(&format!(
            "insert into messages (room_id, sender_id, content) values ('{ROOM}', gen_random_uuid(), 'a');
             set role service_role;
             insert into messages (room_id, sender_id, content) values ('{ROOM}', gen_random_uuid(), 'b');
             reset role"
        ))
        .await;
    let room = bench.value("select to_jsonb(r) from rooms r where name = 'room'").await;
    assert_eq!(json!([room["last_seq"], room["last_rev"]]), json!([2, 2]));
    assert!(room["last_message_at"].is_string());
    let missing = bench
        .client
        .batch_execute("insert into messages (room_id, sender_id, content) select gen_random_uuid(), gen_random_uuid(), 'x'")
        .await
        .unwrap_err();
    assert_eq!(missing.code().unwrap().code(), "23503");
    // A reply stays within its room; what a message is stays what it is.
    bench.sql(&format!("insert into rooms (id) values ('{OTHER}')")).await;
    for (statement, code) in [
        (
            format!(
                "insert into messages (room_id, sender_id, content, reply_to)
                 select '{OTHER}', sender_id, 'x', id from messages where seq = 1"
            ),
            "23503",
        ),
        (format!("update messages set room_id = '{OTHER}'"), "23514"),
        ("update messages set seq = 7".to_owned(), "23514"),
        (format!("update messages set sender_id = '{}'", person("bob")), "23514"),
    ] {
        let error = bench.client.batch_execute(&statement).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), code, "{statement}");
    }
}

#[tokio::test]
async fn ten_thousand_messages_in_one_statement_are_quick() {
    let bench = Bench::with_room(&[]).await;
    let insert = |count: u32| {
        format!(
            "insert into messages (room_id, sender_id, content)
             select '{ROOM}', gen_random_uuid(), 'message ' || n from generate_series(1, {count}) n"
        )
    };
    let started = Instant::now();
    bench.sql(&insert(2_000)).await;
    let small = started.elapsed();
    let started = Instant::now();
    bench.sql(&insert(10_000)).await;
    let large = started.elapsed();
    assert_eq!(bench.value("select max(last_seq) from rooms").await, 12_000);
    // Five times as many: each row looking at all others would take 25 times as long.
    assert!(
        large < small * 15 + Duration::from_secs(3),
        "{small:?} for 2,000 but {large:?} for 10,000"
    );
    bench.sql("update messages set deleted_at = now()").await;
    assert_eq!(bench.value("select max(last_rev) from rooms").await, 24_000);
}
