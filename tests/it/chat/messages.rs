//! What people do with messages, and what is left of them.

use serde_json::{Value, json};

use super::{Bench, ROOM, message, person};

fn refusal(code: &str) -> (String, Option<String>) {
    (code.to_owned(), None)
}

#[tokio::test]
async fn a_message_is_sent_once() {
    let bench = Bench::with_room(&["bob"]).await;
    let (ann, bob, eve) =
        (bench.user("ann").await, bench.user("bob").await, bench.user("eve").await);
    let sent = bob.send(1, "hello").await;
    assert_eq!(sent["sender_id"], person("bob"));
    assert_eq!(json!([sent["seq"], sent["rev"], sent["version"]]), json!([1, 1, 1]));
    let mut again = bob.send(1, "hello").await;
    assert_eq!(again.as_object_mut().unwrap().remove("duplicate"), Some(Value::Bool(true)));
    assert_eq!(again, sent);
    let call = |content: &str| format!("chat.send('{ROOM}', '{}', '{content}')", message(1));
    assert_eq!(ann.refused(&call("mine")).await, refusal("PT409"));
    assert_eq!(eve.refused(&call("let me in")).await, refusal("PT404"));
    assert_eq!(bob.refused(&call(" ")).await, refusal("PT400"));
    assert_eq!(bob.refused(&call(&"x".repeat(10_001))).await, refusal("PT400"));
    bench.sql("update rooms set visibility = 'public'").await;
    assert_eq!(eve.refused(&call("let me in")).await, refusal("PT403"));
    let reply = format!("chat.send('{ROOM}', '{}', 're', '{}')", message(2), message(1));
    assert_eq!(bob.get(&reply).await["reply_to"], message(1));
    let nowhere = format!("chat.send('{ROOM}', '{}', 're', '{}')", message(3), message(9));
    assert_eq!(bob.refused(&nowhere).await, refusal("PT404"));
}

#[tokio::test]
async fn an_edit_replaces_the_version_that_it_says() {
    let bench = Bench::with_room(&["bob"]).await;
    let (ann, bob) = (bench.user("ann").await, bench.user("bob").await);
    bob.send(1, "one").await;
    bob.send(2, "other").await;
    let edit = |content: &str, version: u32| {
        format!("chat.edit('{ROOM}', '{}', '{content}', {version})", message(1))
    };
    let edited = bob.get(&edit("two", 1)).await;
    assert_eq!(json!([edited["seq"], edited["rev"], edited["version"]]), json!([1, 3, 2]));
    assert!(edited["edited_at"].is_string());
    assert_eq!(bob.get(&edit("two", 1)).await["duplicate"], true);
    let conflict = ("PT409".to_owned(), Some("2".to_owned()));
    assert_eq!(bob.refused(&edit("three", 1)).await, conflict);
    assert_eq!(ann.refused(&edit("three", 2)).await, refusal("PT403"));
    let delete = |version: u32| format!("chat.delete('{ROOM}', '{}', {version})", message(1));
    assert_eq!(ann.refused(&delete(1)).await, conflict);
    // The owner of the room may delete what others wrote.
    let deleted = ann.get(&delete(2)).await;
    assert_eq!(json!([deleted["content"], deleted["version"]]), json!([null, 3]));
    assert_eq!(bob.get(&delete(2)).await["duplicate"], true);
    assert_eq!(bob.refused(&edit("three", 3)).await.0, "PT410");
    let error =
        bench.client.batch_execute("update messages set content = 'x', deleted_at = null").await;
    assert_eq!(error.unwrap_err().code().unwrap().code(), "PT410");
    let bob_deletes = format!("chat.delete('{ROOM}', '{}')", message(2));
    assert_eq!(bob.get(&bob_deletes).await["content"], Value::Null);
}

#[tokio::test]
async fn a_deleted_body_is_in_the_revisions_and_nowhere_else() {
    let bench = Bench::with_room(&["bob"]).await;
    let bob = bench.user("bob").await;
    bob.send(1, "the first body").await;
    bench.sql("select pg_create_logical_replication_slot('look', 'pgoutput')").await;
    bob.get(&format!("chat.edit('{ROOM}', '{}', 'the second body', 1)", message(1))).await;
    bob.get(&format!("chat.delete('{ROOM}', '{}')", message(1))).await;
    bench.sql("delete from messages").await;
    let log = bench
        .value(
            "select string_agg(encode(data, 'escape'), '') from pg_logical_slot_get_binary_changes(
               'look', null, null, 'proto_version', '1', 'publication_names', 'supabase_realtime')",
        )
        .await;
    let log = log.as_str().unwrap();
    assert!(!log.contains("the first body"), "an edit logs the old body");
    assert_eq!(log.matches("the second body").count(), 1, "a deletion logs the old body");
    assert_eq!(log.matches(ROOM).count(), 3, "an edit, a soft and a hard deletion name their room");
    assert_eq!(bench.value("select count(*) from message_revisions").await, 0);
}

#[tokio::test]
async fn revisions_are_for_the_service_alone() {
    let bench = Bench::with_room(&["bob"]).await;
    let bob = bench.user("bob").await;
    bob.send(1, "one").await;
    bob.get(&format!("chat.edit('{ROOM}', '{}', 'two', 1)", message(1))).await;
    bob.get(&format!("chat.delete('{ROOM}', '{}')", message(1))).await;
    assert_eq!(bob.rows("select * from message_revisions").await, "42501");
    let service = bench.session("service_role", &json!({"role": "service_role"})).await;
    let kept = service
        .get("select jsonb_agg(jsonb_build_array(version, content, replaced_by) order by version) from message_revisions")
        .await;
    assert_eq!(kept, json!([[1, "one", person("bob")], [2, "two", person("bob")]]));
    let history = service.get(&format!("chat.history('{ROOM}')")).await;
    assert_eq!(history["messages"][0]["content"], Value::Null);
}

#[tokio::test]
async fn reactions_belong_to_a_message_that_is_there() {
    let bench = Bench::with_room(&["bob"]).await;
    let (ann, bob) = (bench.user("ann").await, bench.user("bob").await);
    bob.send(1, "one").await;
    let call = |verb: &str, n: u32, emoji: &str| {
        format!("chat.{verb}('{ROOM}', '{}', '{emoji}')", message(n))
    };
    let changed = async |user: &super::User, verb: &str| {
        user.get(&call(verb, 1, "👍")).await["changed"].as_bool().unwrap()
    };
    assert!(changed(&bob, "react").await);
    assert!(!changed(&bob, "react").await);
    assert!(changed(&ann, "react").await);
    let history = ann.get(&format!("chat.history('{ROOM}')")).await;
    let expected =
        json!([{"emoji": "👍", "count": 2, "users": [person("bob"), person("ann")], "mine": true}]);
    assert_eq!(history["messages"][0]["reactions"], expected);
    assert!(changed(&ann, "unreact").await);
    assert!(!changed(&ann, "unreact").await);
    assert_eq!(bob.refused(&call("react", 2, "👍")).await, refusal("PT404"));
    assert_eq!(bob.refused(&call("react", 1, "")).await, refusal("PT400"));
    bob.get(&format!("chat.delete('{ROOM}', '{}')", message(1))).await;
    assert_eq!(bob.refused(&call("react", 1, "👍")).await, refusal("PT410"));
    let history = ann.get(&format!("chat.history('{ROOM}')")).await;
    assert_eq!(history["messages"][0]["reactions"], json!([]));
    // A reaction is put in its message's room, whatever it says.
    bench.sql("insert into messages (id, room_id, sender_id, content)
        select '20000000-0000-4000-8000-000000000005', id, gen_random_uuid(), 'x' from rooms where name = 'General'").await;
    let smuggled = format!(
        "insert into message_reactions (room_id, message_id, emoji) values ('{ROOM}', '{}', 'x')",
        message(5)
    );
    assert_eq!(bob.rows(&smuggled).await, "42501");
}
