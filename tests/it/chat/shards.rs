//! Rooms spread over three databases, and moved between them in use.

use std::{
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rowcast::{chat::bucket, postgres::pool::Client, protocol::Vsn};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    rooms::{Room, User, World, user},
    support::{client, eventually, postgres::Postgres},
};

mod failing;

/// A server over three clusters, the first of which is the tenant's as well.
struct Spread {
    world: World,
    sql: Vec<Client>,
    urls: String,
    others: Vec<Postgres>,
}

fn url(postgres: &Postgres) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.config().port)
}

impl Spread {
    async fn start() -> Self {
        let shards =
            [Postgres::start(&[]).await, Postgres::start(&[]).await, Postgres::start(&[]).await];
        let urls: Vec<String> = shards.iter().map(url).collect();
        let urls = urls.join(",");
        let mut sql = Vec::new();
        for shard in &shards {
            sql.push(shard.client().await);
        }
        let [first, second, third] = shards;
        let env = [("ROWCAST_CHAT_SHARDS", &*urls), ("ROWCAST_CREATE_ROLES", "true")];
        let world = World::on(first, &env).await;
        for shard in &sql {
            eventually("the stream runs", async || {
                let active = "select exists (select from pg_replication_slots
                    where active and slot_name like '%_chat_%')";
                (super::value(shard, active).await.unwrap() == true).then_some(())
            })
            .await;
        }
        Self { world, sql, urls, others: vec![second, third] }
    }

    /// A room of these users in a bucket that is in this shard at first.
    async fn room_in(&self, shard: u16, users: &[&User]) -> Uuid {
        let id = std::iter::repeat_with(Uuid::new_v4).find(|id| bucket(*id) % 3 == shard).unwrap();
        let members: Vec<Uuid> = users.iter().skip(1).map(|user| user.id).collect();
        let room = json!({ "id": id, "name": format!("in {shard}"), "members": members });
        self.world.done(users[0], "POST", "/rooms", room).await;
        id
    }

    /// In which shards a room has rows.
    async fn places(&self, room: Uuid) -> Vec<usize> {
        let mut places = Vec::new();
        for (shard, sql) in self.sql.iter().enumerate() {
            let exists = format!("exists (select from rooms where id = '{room}')");
            if super::value(sql, &format!("select {exists}")).await.unwrap() == true {
                places.push(shard);
            }
        }
        places
    }

    async fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
        command.arg("chat").args(args).env_clear().env("ROWCAST_CHAT_SHARDS", &self.urls);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn tries_to_move(&self, room: Uuid, to: usize) -> Output {
        let (bucket, to) = (bucket(room).to_string(), to.to_string());
        self.command(&["move", "--bucket", &bucket, "--to", &to]).await
    }

    async fn moves(&self, room: Uuid, to: usize) {
        let output = self.tries_to_move(room, to).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn run(&self, shard: usize, sql: &str) {
        self.sql[shard].batch_execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn rooms_are_in_the_shards_of_their_buckets() {
    let spread = Spread::start().await;
    let world = &spread.world;
    for _ in 0..50 {
        let id = Uuid::new_v4();
        let sql = format!("select chat.bucket('{id}')");
        assert_eq!(super::value(&spread.sql[1], &sql).await.unwrap(), bucket(id), "{id}");
    }
    let (ada, bob, eve) = (user("Ada"), user("Bob"), user("Eve"));
    let mut rooms = Vec::new();
    for shard in [0, 1, 2, 2, 1, 0, 1] {
        let room = spread.room_in(shard, &[&ada, &bob]).await;
        assert_eq!(spread.places(room).await, [usize::from(shard)]);
        rooms.insert(0, room);
    }
    // A message makes the oldest room the newest.
    let oldest = rooms.pop().unwrap();
    let path = format!("/rooms/{oldest}/messages");
    let message = json!({ "id": Uuid::new_v4(), "content": "hello" });
    world.done(&ada, "POST", &path, message).await;
    rooms.insert(0, oldest);

    // Pages over all shards: each room once, newest first.
    let mut seen = Vec::new();
    let mut before = String::new();
    for _ in 0..4 {
        let page = world.done(&bob, "GET", &format!("/rooms?limit=2{before}"), Value::Null).await;
        seen.extend(page["rooms"].as_array().unwrap().iter().map(|room| room["id"].clone()));
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(json!(seen), json!(rooms));
    let mine = world.done(&bob, "GET", "/rooms", Value::Null).await;
    assert_eq!(mine["rooms"][0]["unread_count"], 1);

    // Who is no member sees nothing in any shard.
    let none = json!({ "rooms": [], "next": null });
    assert_eq!(world.done(&eve, "GET", "/rooms", Value::Null).await, none);
    let mut stranger = client::Client::connect_as(&world.server, Vsn::V2, &eve.token).await;
    for room in &rooms {
        assert_eq!(
            world.ask(&eve, "GET", &format!("/rooms/{room}"), Value::Null).await.status,
            404
        );
        let private = json!({ "private": true });
        assert!(!stranger.ask_join(&format!("realtime:room:{room}"), private).await.is_ok());
    }

    // A DBA's insert is told where it belongs, and refused where it does not.
    let room = rooms.iter().copied().find(|room| bucket(*room) % 3 == 1).unwrap();
    let mut listener = world.enter(&bob, room).await;
    let insert = format!(
        "insert into messages (room_id, sender_id, content) values ('{room}', '{}', 'by hand')",
        ada.id
    );
    spread.run(1, &insert).await;
    assert_eq!(listener.hears("message").await["message"]["content"], "by hand");
    let refused = spread.sql[2].batch_execute(&insert).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "PT503");
    let statuses = format!("/users/status?ids={}", bob.id);
    let status = world.done(&ada, "GET", &statuses, Value::Null).await;
    assert_eq!(status[0]["online"], true);
}

#[tokio::test]
async fn a_shard_that_is_away_fails_what_needs_it() {
    let mut spread = Spread::start().await;
    let ada = user("Ada");
    let (here, there) = (spread.room_in(0, &[&ada]).await, spread.room_in(2, &[&ada]).await);
    spread.others[1].kill9().await;
    let world = &spread.world;
    let away = world.ask(&ada, "GET", "/rooms", Value::Null).await;
    assert_eq!((away.status, away.json()["code"].clone()), (503, json!("unavailable")));
    assert_eq!(world.ask(&ada, "GET", &format!("/rooms/{there}"), Value::Null).await.status, 503);
    assert_eq!(world.ask(&ada, "GET", &format!("/rooms/{here}"), Value::Null).await.status, 200);
    world.enter(&ada, here).await;
    spread.others[1].resume().await;
    eventually("the shard is back", async || {
        let rooms = world.ask(&ada, "GET", "/rooms", Value::Null).await;
        (rooms.status == 200 && rooms.json()["rooms"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_moved_room_is_what_it_was() {
    let spread = Spread::start().await;
    let world = &spread.world;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = spread.room_in(1, &[&ada, &bob]).await;
    let mut a = world.enter(&ada, room).await;
    // So that Bob is not told of it.
    assert_eq!(a.hears("status").await["user_id"], json!(ada.id));
    let mut b = world.enter(&bob, room).await;
    let first = a.send("one").await;
    a.does("edit", json!({ "id": first["id"], "content": "two", "version": 1 })).await;
    b.does("react", json!({ "id": first["id"], "emoji": "🍋" })).await;
    b.does("read", json!({ "seq": 1 })).await;
    let (path, receipts) = (
        format!("/rooms/{room}/messages"),
        format!("/rooms/{room}/messages/{}/receipts", first["id"].as_str().unwrap()),
    );
    let before = world.done(&ada, "GET", &path, Value::Null).await;
    let seen = world.done(&ada, "GET", &receipts, Value::Null).await;
    assert_eq!(seen["receipts"].as_array().unwrap().len(), 1);
    let members = world.done(&ada, "GET", &format!("/rooms/{room}/members"), Value::Null).await;
    // When these have come, so has everything that was told before.
    assert_eq!(b.hears("message").await["message"]["content"], "one");
    b.hears("message_updated").await;
    for client in [&mut a, &mut b] {
        assert_eq!(client.hears("status").await["user_id"], json!(bob.id));
    }
    a.hears("reaction").await;
    a.hears("receipt").await;
    let before_move = [a.client.settled().await.clone(), b.client.settled().await.clone()];

    spread.moves(room, 2).await;
    assert_eq!(spread.places(room).await, [2]);
    assert_eq!(world.done(&ada, "GET", &path, Value::Null).await, before);
    assert_eq!(world.done(&ada, "GET", &receipts, Value::Null).await, seen);
    let after = world.done(&ada, "GET", &format!("/rooms/{room}/members"), Value::Null).await;
    assert_eq!(after, members);
    let revisions = super::value(&spread.sql[2], "select count(*) from message_revisions");
    assert_eq!(revisions.await.unwrap(), 1);
    for shard in [0, 1] {
        let left =
            "select (select count(*) from messages) + (select count(*) from message_receipts)
            + (select count(*) from message_reactions) + (select count(*) from message_revisions)";
        assert_eq!(super::value(&spread.sql[shard], left).await.unwrap(), 0);
    }
    // Those who are joined go on, and heard nothing of it when both streams have
    // told what came later: the target's the message, the source's another room's.
    assert_eq!(a.send("three").await["seq"], 2);
    assert_eq!(b.hears("message").await["message"]["seq"], 2);
    let stays = spread.room_in(1, &[&ada]).await;
    let mut there = world.enter_with(&ada, stays, json!({ "ack": true, "self": true })).await;
    there.send("later").await;
    there.hears("message").await;
    for (client, before) in [&mut a, &mut b].into_iter().zip(before_move) {
        assert_eq!(client.client.settled().await, &before);
    }

    // The source refuses for ever, whoever asks.
    let insert = format!("insert into rooms (id, name) values ('{room}', 'again')");
    let refused = spread.sql[1].batch_execute(&insert).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "PT503");
    // The setting of a move is the owner's alone.
    let forged =
        format!("begin; set local chat.moving = 'on'; set local role service_role; {insert}");
    let refused = spread.sql[1].batch_execute(&forged).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "PT503");
    spread.run(1, "rollback").await;

    let list = spread.command(&["buckets"]).await;
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("shard 1  1364 buckets") && list.contains("shard 2  1366 buckets"),
        "{list}"
    );
}

#[tokio::test]
async fn a_move_that_was_cut_off_goes_on_or_is_undone() {
    let spread = Spread::start().await;
    let world = &spread.world;
    let ada = user("Ada");
    let room = spread.room_in(0, &[&ada]).await;
    let mut a = world.enter(&ada, room).await;
    a.send("one").await;
    let n = bucket(room);
    let state = |shard: usize, state: &str, other: &str| {
        format!(
            "update chat.buckets set shard = {shard}, state = '{state}', other = {other},
             version = (select 1 + max(version) from chat.buckets) where bucket = {n}"
        )
    };
    // While it was frozen: undone, or gone on with.
    let frozen = format!("update chat.owned_buckets set frozen = true where bucket = {n}");
    for to in [0, 1] {
        spread.run(0, &frozen).await;
        spread.run(0, &state(0, "moving", "1")).await;
        let refused = spread.tries_to_move(room, 2).await;
        assert!(!refused.status.success());
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(words.contains("on its way from shard 0 to shard 1"), "{words}");
        spread.moves(room, to).await;
        assert_eq!(spread.places(room).await, [to]);
        a.send("goes on").await;
    }
    // After the source gave it up and before the target took it.
    spread.run(1, &format!("delete from chat.owned_buckets where bucket = {n}")).await;
    spread.run(0, &state(1, "moving", "2")).await;
    spread.moves(room, 2).await;
    assert_eq!(spread.places(room).await, [2]);
    a.send("goes on").await;
    // After the map named the target and before that took it.
    spread.run(2, &format!("delete from chat.owned_buckets where bucket = {n}")).await;
    spread.run(0, &state(2, "clearing", "1")).await;
    spread.moves(room, 2).await;
    assert_eq!(a.send("goes on").await["seq"], 5);
    // Before the source was cleared, and then to a shard that never was.
    spread.run(0, &state(2, "clearing", "1")).await;
    spread.moves(room, 0).await;
    assert_eq!(spread.places(room).await, [0]);
    assert!(!spread.tries_to_move(room, 3).await.status.success());
    assert_eq!(a.send("goes on").await["seq"], 6);
}

#[tokio::test]
async fn a_bucket_stays_where_it_is_if_a_stream_does_not_get_on() {
    let mut spread = Spread::start().await;
    let ada = user("Ada");
    let room = spread.room_in(1, &[&ada]).await;
    spread.world.server.kill9().await;
    // So that the source is frozen when it turns out.
    eventually("the target's slot is free", async || {
        let drop = "select pg_drop_replication_slot('rowcast_realtime_slot_chat_2')";
        spread.sql[2].batch_execute(drop).await.ok()
    })
    .await;
    let bucket = bucket(room).to_string();
    let args = ["move", "--bucket", &bucket, "--to", "2", "--patience", "1"];
    let refused = spread.command(&args).await;
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("slot rowcast_realtime_slot_chat_1"), "{words}");
    let frozen = super::value(&spread.sql[1], "select bool_or(frozen) from chat.owned_buckets");
    assert_eq!(frozen.await.unwrap(), false);
    spread.world.server.resume().await;
    let path = format!("/rooms/{room}/messages");
    let message = json!({ "id": Uuid::new_v4(), "content": "hello" });
    spread.world.done(&ada, "POST", &path, message).await;
    assert_eq!(spread.places(room).await, [1]);
}

/// Sends until told to stop, each message with an id and until it is accepted.
async fn writes(mut room: Room, done: Arc<AtomicBool>) -> Vec<Uuid> {
    let mut sent = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let id = Uuid::new_v4();
        let message = json!({ "id": id, "content": "x" });
        while !room.say("send", message.clone()).await.is_ok() {}
        sent.push(id);
        room.client.backlog.clear();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    sent
}

#[tokio::test]
async fn moves_under_load_lose_and_double_nothing() {
    let spread = Spread::start().await;
    let world = &spread.world;
    let (ada, bob, cyd, dan) = (user("Ada"), user("Bob"), user("Cyd"), user("Dan"));
    let room = spread.room_in(0, &[&ada, &bob, &cyd, &dan]).await;
    let mut listener = world.enter(&dan, room).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers = [
        rowcast::runtime::spawn("writer", writes(world.enter(&ada, room).await, Arc::clone(&done))),
        rowcast::runtime::spawn("writer", writes(world.enter(&bob, room).await, Arc::clone(&done))),
    ];
    let over_http = async {
        let mut sent = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let id = Uuid::new_v4();
            let message = json!({ "id": id, "content": "x" });
            let path = format!("/rooms/{room}/messages");
            while world.ask(&cyd, "POST", &path, message.clone()).await.status != 201 {}
            sent.push(id);
            // Reading and marking go on as well.
            let list = world.done(&cyd, "GET", "/rooms", Value::Null).await;
            assert_eq!(list["rooms"].as_array().unwrap().len(), 1, "{list}");
        }
        sent
    };
    let moves = async {
        for to in [1, 2, 0, 2, 1] {
            tokio::time::sleep(Duration::from_millis(200)).await;
            spread.moves(room, to).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        done.store(true, Ordering::Relaxed);
    };
    let (mut sent, ()) = tokio::join!(over_http, moves);
    for writer in writers {
        sent.extend(writer.await.unwrap());
    }
    assert!(sent.len() > 100, "{}", sent.len());
    assert_eq!(spread.places(room).await, [1]);
    let stored = "select jsonb_agg(jsonb_build_array(seq, id) order by seq) from messages";
    let stored = super::value(&spread.sql[1], stored).await.unwrap();
    let stored: Vec<(usize, Uuid)> = serde_json::from_value(stored).unwrap();
    let numbers: Vec<usize> = stored.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=sent.len()).collect::<Vec<_>>(), "no hole");
    let mut ids: Vec<Uuid> = stored.iter().map(|(_, id)| *id).collect();
    let order = ids.clone();
    ids.sort_unstable();
    sent.sort_unstable();
    assert_eq!(ids, sent, "each that was acknowledged is there once, and no other");
    for id in &order {
        let heard = listener.hears("message").await["message"]["id"].clone();
        assert_eq!(heard, json!(id), "each once, in order");
    }
    assert_eq!(listener.heard().await, [""; 0]);
    // Nobody came again.
    let told = listener.client.backlog.iter().map(|message| &message.payload);
    let members = told.filter(|payload| payload["event"] == "chat:member");
    let mut joined: Vec<String> = members.map(|told| told["payload"].to_string()).collect();
    let all = joined.len();
    joined.sort_unstable();
    joined.dedup();
    assert_eq!(joined.len(), all, "{joined:?}");
}
