//! History and resume: exact pages, by the indexes.

use serde_json::{Value, json};

use super::{Bench, ROOM, message};

fn seqs(answer: &Value) -> Vec<u64> {
    answer["messages"].as_array().unwrap().iter().map(|m| m["seq"].as_u64().unwrap()).collect()
}

/// A room with this many messages.
async fn filled(count: u32) -> Bench {
    let bench = Bench::with_room(&["bob"]).await;
    bench
        .sql(&format!(
            "insert into messages (id, room_id, sender_id, content)
             select ('20000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, '{ROOM}', gen_random_uuid(), 'm' || n
             from generate_series(1, {count}) n; analyze messages; analyze room_members; analyze rooms"
        ))
        .await;
    bench
}

#[tokio::test]
async fn history_goes_page_by_page_both_ways() {
    let bench = filled(25).await;
    let bob = bench.user("bob").await;
    let page =
        async |arguments: &str| bob.get(&format!("chat.history('{ROOM}', {arguments})")).await;
    let newest = page("null, null, 10").await;
    assert_eq!(seqs(&newest), (16..=25).collect::<Vec<_>>());
    assert_eq!(newest["has_more"], true);
    assert_eq!(newest["head"], json!({"seq": 25, "rev": 25}));
    let older = page("6, null, 10").await;
    assert_eq!((seqs(&older), &older["has_more"]), ((1..=5).collect(), &json!(false)));
    let newer = page("null, 5, 10").await;
    assert_eq!((seqs(&newer), &newer["has_more"]), ((6..=15).collect(), &json!(true)));
    let last = page("null, 15, 10").await;
    assert_eq!((seqs(&last), &last["has_more"]), ((16..=25).collect(), &json!(false)));
    assert!(seqs(&page("null, 25, 10").await).is_empty());
    assert_eq!(seqs(&page("null, null, 0").await), [25]);
    assert_eq!(bob.refused(&format!("chat.history('{ROOM}', 1, 1)")).await.0, "PT400");
}

#[tokio::test]
async fn resume_tells_what_was_missed_or_that_it_is_too_much() {
    let bench = filled(25).await;
    let bob = bench.user("bob").await;
    let resume =
        async |arguments: &str| bob.get(&format!("chat.resume('{ROOM}', {arguments})")).await;
    assert!(seqs(&resume("25, 25").await).is_empty());
    assert_eq!(seqs(&resume("20, 20").await), (21..=25).collect::<Vec<_>>());
    bench.sql("update messages set content = 'new' where seq = 3").await;
    bench.sql("update messages set deleted_at = now() where seq = 22").await;
    let missed = resume("25, 25").await;
    assert_eq!(seqs(&missed), [3, 22]);
    assert_eq!(missed["messages"][0]["content"], "new");
    assert_eq!(missed["messages"][1]["content"], Value::Null);
    assert_eq!(missed["head"], json!({"seq": 25, "rev": 27}));
    assert_eq!(seqs(&resume("20, 26").await), (21..=25).collect::<Vec<_>>());
    assert_eq!(seqs(&resume("23").await), [24, 25]);
    let exact = resume("0, 0, 25").await;
    assert_eq!((exact["limited"].as_bool(), seqs(&exact).len()), (Some(false), 25));
    for too_much in ["0, 0, 24", "26, 25", "25, 28"] {
        let limited = resume(too_much).await;
        assert_eq!(
            (limited["limited"].as_bool(), seqs(&limited).len()),
            (Some(true), 0),
            "{too_much}"
        );
    }
    assert_eq!(bob.refused(&format!("chat.resume('{ROOM}', null)")).await.0, "PT400");
}

#[tokio::test]
async fn indexes_serve_what_is_asked_often() {
    let bench = filled(5_000).await;
    bench
        .sql(
            "insert into rooms (name) select 'r' || n from generate_series(1, 500) n;
             insert into room_members (room_id, user_id) select id, gen_random_uuid() from rooms, generate_series(1, 20);
             analyze rooms; analyze room_members",
        )
        .await;
    let bob = bench.user("bob").await;
    let (before, mine) = (message(1), super::person("bob"));
    for (query, index) in [
        (
            format!(
                "select * from messages where room_id = '{ROOM}' and seq < 2500 order by seq desc limit 50"
            ),
            "messages_",
        ),
        (
            format!(
                "select * from messages where room_id = '{ROOM}' and rev > 4990 order by rev limit 1001"
            ),
            "messages_room_rev_index",
        ),
        (format!("select * from messages where id = '{before}'"), "messages_pkey"),
        (
            format!("select * from room_members where user_id = '{mine}'"),
            "room_members_user_id_index",
        ),
        (
            format!("select * from room_members where room_id = '{ROOM}' and user_id = '{mine}'"),
            "room_members_",
        ),
        (
            format!(
                "select * from message_reactions where room_id = '{ROOM}' and message_id = '{before}'"
            ),
            "message_reactions_pkey",
        ),
    ] {
        let rows = bob.client.query(&format!("explain {query}"), &[]).await.unwrap();
        let plan = rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{query}\n{plan}");
    }
}
