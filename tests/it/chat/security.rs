//! Who may do what, on every table.

use serde_json::json;

use super::{Bench, ROOM, message, person};

/// Select, insert, update and delete, for each of [`CALLERS`].
const EXPECTED: &[(&str, [&str; 5])] = &[
    ("rooms", ["0 - - -", "0 1 0 -", "1 1 0 -", "1 1 1 -", "1 1 1 -"]),
    ("room_members", ["- - - -", "0 - 0 0", "4 - 0 0", "4 1 0 1", "4 1 1 1"]),
    ("messages", ["0 - - -", "0 - 0 -", "1 1 0 -", "1 1 - -", "1 1 - -"]),
    ("message_receipts", ["- - - -", "0 - - -", "1 - - -", "1 - - -", "1 - - -"]),
    ("message_reactions", ["0 - - -", "0 - - 0", "1 1 - 0", "1 1 - 0", "1 1 - 0"]),
    ("message_revisions", ["- - - -", "- - - -", "- - - -", "- - - -", "- - - -"]),
];

const CALLERS: [&str; 5] = ["anon", "outsider", "member", "boss", "ann"];

fn statements(table: &str, caller: &str) -> [String; 4] {
    let (target, n) = (person("tim"), message(1));
    let insert = match table {
        "rooms" => "(name) values ('new')".to_owned(),
        "room_members" => format!("(room_id, user_id) values ('{ROOM}', '{}')", person("new")),
        "messages" => {
            format!("(room_id, sender_id, content) values ('{ROOM}', '{}', 'x')", person(caller))
        }
        "message_receipts" => {
            format!("(room_id, message_id, user_id) values ('{ROOM}', '{n}', '{}')", person(caller))
        }
        "message_reactions" => format!(
            "(room_id, message_id, user_id, emoji) values ('{ROOM}', '{n}', '{}', 'y')",
            person(caller)
        ),
        _ => format!("(room_id, message_id, version, content) values ('{ROOM}', '{n}', 9, 'x')"),
    };
    let set = match table {
        "rooms" | "room_members" => "name = 'other'",
        "message_reactions" => "emoji = 'z'",
        "message_receipts" => "read_at = now()",
        _ => "content = 'other'",
    };
    let which = match table {
        "rooms" => format!("id = '{ROOM}'"),
        "room_members" => format!("user_id = '{target}'"),
        _ => "true".to_owned(),
    };
    let seen = if table == "rooms" { which.clone() } else { "true".to_owned() };
    [
        format!("select from {table} where {seen}"),
        format!("insert into {table} {insert}"),
        format!("update {table} set {set} where {which}"),
        format!("delete from {table} where {which}"),
    ]
}

#[tokio::test]
async fn the_tables_are_for_members_by_their_role() {
    let bench = Bench::with_room(&["member", "boss", "tim"]).await;
    bench
        .sql(&format!(
            "update room_members set role = 'admin' where user_id = '{}'",
            person("boss")
        ))
        .await;
    let tim = bench.user("tim").await;
    tim.send(1, "one").await;
    tim.get(&format!("chat.edit('{ROOM}', '{}', 'two', 1)", message(1))).await;
    tim.get(&format!("chat.react('{ROOM}', '{}', 'x')", message(1))).await;
    bench.user("ann").await.get(&format!("chat.mark('{ROOM}', 1, 1, 50)")).await;

    for (at, caller) in CALLERS.iter().enumerate() {
        let user = match *caller {
            "anon" => bench.session("anon", &json!({"role": "anon"})).await,
            name => bench.user(name).await,
        };
        for (table, expected) in EXPECTED {
            let mut outcomes = Vec::new();
            for statement in statements(table, caller) {
                user.client.batch_execute("begin").await.unwrap();
                outcomes.push(user.rows(&statement).await.replace("42501", "-"));
                user.client.batch_execute("rollback").await.unwrap();
            }
            assert_eq!(outcomes.join(" "), expected[at], "{caller} on {table}");
        }
    }
    let service = bench.session("service_role", &json!({"role": "service_role"})).await;
    for (table, _) in EXPECTED {
        assert_ne!(service.rows(&format!("select from {table}")).await, "0", "{table}");
    }
}

#[tokio::test]
async fn nobody_writes_in_another_name_or_rises_by_himself() {
    let bench = Bench::with_room(&["member", "boss"]).await;
    bench
        .sql(&format!(
            "update room_members set role = 'admin' where user_id = '{}'",
            person("boss")
        ))
        .await;
    let (ann, boss, member) =
        (bench.user("ann").await, bench.user("boss").await, bench.user("member").await);
    let forged = format!(
        "insert into messages (room_id, sender_id, content) values ('{ROOM}', '{}', 'x')",
        person("ann")
    );
    assert_eq!(member.rows(&forged).await, "42501");
    for column in ["seq", "rev", "version"] {
        let set =
            format!("insert into messages (room_id, content, {column}) values ('{ROOM}', 'x', 9)");
        assert_eq!(member.rows(&set).await, "42501", "{column}");
    }
    let rise = |name: &str, role: &str| {
        format!("update room_members set role = '{role}' where user_id = '{}'", person(name))
    };
    assert_eq!(member.rows(&rise("member", "owner")).await, "PT403");
    assert_eq!(boss.rows(&rise("boss", "owner")).await, "PT403");
    assert_eq!(ann.rows(&rise("member", "admin")).await, "1");
    // An owner does not read for others, nor does an admin make owners.
    bench.user("member").await.send(1, "one").await;
    let read = format!(
        "update room_members set last_read_seq = 1, name = 'X' where user_id = '{}'",
        person("boss")
    );
    assert_eq!(ann.rows(&read).await, "1");
    let unread = bench
        .value(&format!(
            "select jsonb_build_array(last_read_seq, name) from room_members where user_id = '{}'",
            person("boss")
        ))
        .await;
    assert_eq!(unread, json!([0, "boss"]));
    let invite =
        |role: &str| format!("chat.invite('{ROOM}', '{}', 'New', '{role}')", person("new"));
    assert_eq!(boss.refused(&invite("owner")).await.0, "PT403");
    assert_eq!(boss.get(&invite("member")).await["role"], "member");
    let remove = |name: &str| format!("chat.remove_member('{ROOM}', '{}')", person(name));
    assert_eq!(boss.refused(&remove("ann")).await.0, "PT403");
    assert_eq!(boss.get(&remove("new")).await["changed"], true);
    assert_eq!(boss.get(&remove("new")).await["changed"], false);
}

#[tokio::test]
async fn a_public_room_is_for_everybody_to_read_and_for_members_to_write() {
    let bench = Bench::with_room(&["bob"]).await;
    bench.user("bob").await.send(1, "one").await;
    let anon = bench.session("anon", &json!({"role": "anon"})).await;
    let eve = bench.user("eve").await;
    let history = format!("chat.history('{ROOM}')");
    assert_eq!(anon.refused(&history).await.0, "PT404");
    assert_eq!(eve.refused(&format!("chat.join_room('{ROOM}')")).await.0, "PT404");
    bench.sql("update rooms set visibility = 'public'").await;
    assert_eq!(anon.get(&history).await["messages"][0]["content"], "one");
    assert_eq!(anon.get(&format!("chat.room('{ROOM}')")).await["role"], json!(null));
    assert_eq!(eve.rows("select from messages").await, "1");
    assert_eq!(eve.rows("select from room_members").await, "0");
    assert_eq!(
        eve.rows(&format!("insert into messages (room_id, content) values ('{ROOM}', 'x')")).await,
        "42501"
    );
    let joined = eve.get(&format!("chat.join_room('{ROOM}')")).await;
    assert_eq!(
        json!([joined["role"], joined["unread_count"], joined["member_count"]]),
        json!(["member", 0, 3])
    );
    assert_eq!(eve.send(2, "two").await["seq"], 2);
}
