//! Members: cursors, receipts, ownership, lists.

use serde_json::{Value, json};

use super::{Bench, ROOM, message, person};

fn mark(delivered: &str, read: &str, receipts_up_to: u32) -> String {
    format!("chat.mark('{ROOM}', {delivered}, {read}, {receipts_up_to})")
}

#[tokio::test]
async fn marks_never_go_back_nor_ahead() {
    let bench = Bench::with_room(&["bob"]).await;
    let (ann, bob) = (bench.user("ann").await, bench.user("bob").await);
    for n in 1..=5 {
        bob.send(n, "text").await;
    }
    let at = |delivered: u32, read: u32| json!({"delivered_seq": delivered, "read_seq": read});
    assert_eq!(ann.get(&mark("3", "null", 50)).await, at(3, 0));
    assert_eq!(ann.get(&mark("1", "2", 50)).await, at(3, 2));
    assert_eq!(ann.get(&mark("null", "4", 50)).await, at(4, 4));
    assert_eq!(ann.get(&mark("null", "1", 50)).await, at(4, 4));
    assert_eq!(ann.get(&mark("99", "99", 50)).await, at(5, 5));
    let direct = format!(
        "update room_members set last_read_seq = 0, last_delivered_seq = 0 where user_id = '{}'",
        person("ann")
    );
    assert_eq!(ann.rows(&direct).await, "1");
    bob.send(6, "text").await;
    bench.sql("update room_members set last_read_seq = 77").await;
    let cursors =
        "select jsonb_agg(jsonb_build_array(last_delivered_seq, last_read_seq)) from room_members";
    assert_eq!(bench.value(cursors).await, json!([[6, 6], [6, 6]]));
    let eve = bench.user("eve").await;
    assert_eq!(eve.refused(&mark("1", "1", 50)).await.0, "PT404");
}

#[tokio::test]
async fn receipts_are_rows_in_small_rooms_and_counts_in_all() {
    let bench = Bench::with_room(&["bob", "cid"]).await;
    let (ann, bob) = (bench.user("ann").await, bench.user("bob").await);
    for n in 1..=4 {
        bob.send(n, "text").await;
    }
    let receipts = async |n: u32| {
        let mut all = bob.get(&format!("chat.receipts('{ROOM}', '{}')", message(n))).await;
        for entry in all["receipts"].as_array_mut().unwrap() {
            *entry = json!([entry["user_id"], entry["name"], entry["read_at"].is_string()]);
        }
        all
    };
    let answer = |delivered: u32, read: u32, receipts: Value| json!({"members": 2, "delivered": delivered, "read": read, "receipts": receipts});
    ann.get(&mark("2", "1", 3)).await;
    assert_eq!(receipts(1).await, answer(1, 1, json!([[person("ann"), "Ann", true]])));
    assert_eq!(receipts(2).await, answer(1, 0, json!([[person("ann"), "Ann", false]])));
    ann.get(&mark("null", "2", 3)).await;
    assert_eq!(receipts(2).await, answer(1, 1, json!([[person("ann"), "Ann", true]])));
    // The room is larger than that: cursors alone.
    ann.get(&mark("4", "3", 2)).await;
    assert_eq!(receipts(3).await, answer(1, 1, json!([])));
    assert_eq!(receipts(4).await, answer(1, 0, json!([])));
    assert_eq!(bench.value("select count(*) from message_receipts").await, 2);
    bench.sql("delete from messages where seq <= 2").await;
    assert_eq!(bench.value("select count(*) from message_receipts").await, 0);
}

#[tokio::test]
async fn who_was_away_for_long_has_receipts_of_the_newest_only() {
    let bench = Bench::with_room(&["bob"]).await;
    let ann = bench.user("ann").await;
    bench.sql(&format!("insert into messages (room_id, sender_id, content) select '{ROOM}', '{}', 'text' from generate_series(1, 1500)", person("bob"))).await;
    let receipts = "select jsonb_build_array(count(*), count(t.read_at), min(m.seq), max(m.seq)) from message_receipts t join messages m on m.id = t.message_id";
    let answer = ann.get(&mark("1500", "null", 50)).await;
    assert_eq!(answer, json!({"delivered_seq": 1500, "read_seq": 0}));
    assert_eq!(bench.value(receipts).await, json!([1000, 0, 501, 1500]));
    // Reading what is far behind is noted there, and only there.
    ann.get(&mark("null", "10", 50)).await;
    assert_eq!(bench.value(receipts).await, json!([1010, 10, 1, 1500]));
    ann.get(&mark("null", "1400", 50)).await;
    assert_eq!(bench.value(receipts).await, json!([1110, 1010, 1, 1500]));
    let counts = format!(
        "select chat.receipts('{ROOM}', (select id from messages where seq = 300)) - 'receipts'"
    );
    let counted = json!({"members": 1, "delivered": 1, "read": 1});
    assert_eq!(bench.value(&counts).await, counted);
}

#[tokio::test]
async fn a_room_keeps_an_owner_while_it_has_members() {
    let bench = Bench::with_room(&["bob", "cid"]).await;
    let owners = format!(
        "select jsonb_agg(user_id) from room_members where room_id = '{ROOM}' and role = 'owner'"
    );
    let leave = format!("chat.leave_room('{ROOM}')");
    let ann = bench.user("ann").await;
    assert_eq!(ann.get(&leave).await["changed"], true);
    assert_eq!(ann.get(&leave).await["changed"], false);
    assert_eq!(bench.value(&owners).await, json!([person("bob")]));
    bench.sql("update room_members set role = 'member'").await;
    assert_eq!(bench.value(&owners).await, json!([person("cid")]));
    // Both owners leave at the same moment; who stays inherits.
    bench.sql(&format!("update room_members set role = 'owner'; insert into room_members (room_id, user_id) values ('{ROOM}', '{}')", person("dan"))).await;
    let (bob, cid) = (bench.user("bob").await, bench.user("cid").await);
    tokio::join!(bob.get(&leave), cid.get(&leave));
    assert_eq!(bench.value(&owners).await, json!([person("dan")]));
    bench.user("dan").await.get(&leave).await;
    assert_eq!(bench.value("select member_count from rooms where name = 'room'").await, 0);
    bench.sql("delete from rooms").await;
}

#[tokio::test]
async fn a_room_is_made_once_and_is_its_makers() {
    let bench = Bench::start().await;
    let (ann, bob) = (bench.user("ann").await, bench.user("bob").await);
    let create = format!(
        "chat.create_room('{ROOM}', 'Tea', 'private', array['{0}', '{0}']::uuid[])",
        person("bob")
    );
    let room = ann.get(&create).await;
    assert_eq!(
        json!([room["role"], room["member_count"], room["name"]]),
        json!(["owner", 2, "Tea"])
    );
    assert_eq!(ann.get(&create).await["duplicate"], true);
    assert_eq!(bob.refused(&create).await.0, "PT409");
    assert_eq!(ann.refused("chat.create_room(null, 'x', 'secret')").await.0, "PT400");
    let nobody =
        bench.session("authenticated", &json!({"role": "authenticated", "sub": "robot"})).await;
    assert_eq!(nobody.refused("chat.create_room()").await.0, "PT403");
    // A name that the inviter did not know comes with its owner.
    let names = "select jsonb_agg(name order by role desc, name) from room_members";
    assert_eq!(bench.value(names).await, json!(["ann", ""]));
    bob.get(&format!("chat.join_room('{ROOM}')")).await;
    assert_eq!(bench.value(names).await, json!(["ann", "bob"]));
}

#[tokio::test]
async fn lists_go_page_by_page() {
    let bench = Bench::with_room(&["bob", "Bea", "b%b", "cid"]).await;
    let ann = bench.user("ann").await;
    let names = |page: &Value| {
        let members = page["members"].as_array().unwrap();
        members.iter().map(|m| m["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let page = ann.get(&format!("chat.members('{ROOM}', 'B', null, 1)")).await;
    assert_eq!(names(&page), ["b%b"]);
    let next = page["next"].as_str().unwrap();
    let page = ann.get(&format!("chat.members('{ROOM}', 'B', '{next}', 5)")).await;
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["Bea".to_owned(), "bob".to_owned()], &Value::Null)
    );
    assert_eq!(names(&ann.get(&format!("chat.members('{ROOM}', 'b%')")).await), ["b%b"]);
    assert_eq!(
        bench.user("eve").await.refused(&format!("chat.members('{ROOM}')")).await.0,
        "PT404"
    );

    // Rooms, the newest message first.
    for n in 1..=3 {
        ann.get(&format!("chat.create_room(null, 'room {n}')")).await;
    }
    bench.user("bob").await.send(1, "text").await;
    let mut seen = Vec::new();
    let mut before = "null".to_owned();
    loop {
        let page = ann.get(&format!("chat.rooms(2, {before})")).await;
        for room in page["rooms"].as_array().unwrap() {
            seen.push(json!([room["name"], room["unread_count"], room["last_message"]["content"]]));
        }
        match page["next"].as_str() {
            Some(next) => before = format!("'{next}'"),
            None => break,
        }
    }
    let expected =
        json!([["room", 1, "text"], ["room 3", 0, null], ["room 2", 0, null], ["room 1", 0, null]]);
    assert_eq!(json!(seen), expected);
    assert_eq!(ann.refused("chat.rooms(2, 'x')").await.0, "PT400");

    let ids = format!("array['{}', '{}']::uuid[]", person("bob"), person("eve"));
    assert_eq!(ann.get(&format!("chat.shared_users({ids})")).await, json!([person("bob")]));
    assert_eq!(bench.value(&format!("chat.rooms_of('{}')", person("bob"))).await, json!([ROOM]));
    assert_eq!(ann.refused(&format!("chat.rooms_of('{}')", person("bob"))).await.0, "42501");
}
