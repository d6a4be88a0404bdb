//! Moves that do not succeed, and installing over what is there.

use rowcast::{
    postgres::connect::ConnectConfig,
    tenants::{
        chat_schema::Chat,
        chat_shards::{self, ShardError},
        migrations::{self, MigrateError, Options},
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{super::value, Spread, bucket, eventually, user};
use crate::support::postgres::Postgres;

impl Spread {
    /// The slot of one more server, which does not get on.
    async fn stuck_server(&self, shard: usize) -> String {
        let slot = format!("rowcast_realtime_slot_b_chat_{shard}");
        let make = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        self.run(shard, &make).await;
        self.run(shard, "select pg_logical_emit_message(false, '', 'not read')").await;
        slot
    }

    async fn is_frozen(&self, shard: usize) -> bool {
        let frozen = "select coalesce(bool_or(frozen), false) from chat.owned_buckets";
        value(&self.sql[shard], frozen).await.unwrap() == true
    }
}

#[tokio::test]
async fn a_move_waits_for_every_server_of_a_shard() {
    let spread = Spread::start().await;
    let ada = user("Ada");
    let room = spread.room_in(1, &[&ada]).await;
    let bucket = bucket(room).to_string();
    for shard in [2, 1] {
        let slot = spread.stuck_server(shard).await;
        let refused =
            spread.command(&["move", "--bucket", &bucket, "--to", "2", "--patience", "1"]).await;
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(words.contains(&format!("slot {slot}")), "{words}");
        assert!(!spread.is_frozen(1).await);
        spread.run(shard, &format!("select pg_drop_replication_slot('{slot}')")).await;
    }
    spread.moves(room, 2).await;
    assert_eq!(spread.places(room).await, [2]);
}

#[tokio::test]
async fn a_target_that_goes_away_leaves_the_bucket_in_use() {
    let mut spread = Spread::start().await;
    let ada = user("Ada");
    let room = spread.room_in(1, &[&ada]).await;
    let mut target = spread.others.pop().unwrap();
    // So that the move waits while the bucket is frozen.
    let slot = spread.stuck_server(1).await;
    let number = bucket(room).to_string();
    let args = ["move", "--bucket", &number, "--to", "2", "--patience", "3"];
    let (refused, ()) = tokio::join!(spread.command(&args), async {
        eventually("it is frozen", async || spread.is_frozen(1).await.then_some(())).await;
        target.kill9().await;
    });
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains(&format!("slot {slot}")), "the first error: {words}");
    assert!(!spread.is_frozen(1).await);
    let message = json!({ "id": Uuid::new_v4(), "content": "hello" });
    spread.world.done(&ada, "POST", &format!("/rooms/{room}/messages"), message).await;

    let state = format!("select state from chat.buckets where bucket = {number}");
    assert_eq!(value(&spread.sql[0], &state).await.unwrap(), "moving");
    target.resume().await;
    spread.moves(room, 1).await;
    assert_eq!(value(&spread.sql[0], &state).await.unwrap(), "open");
}

/// Makes a database the only shard.
async fn set_up(shard: &ConnectConfig, publication: &str) -> Result<(), ShardError> {
    let chat = Chat { publication: publication.to_owned(), general_room: false };
    let options = Options { create_roles: false, chat: Some(chat) };
    chat_shards::set_up(std::slice::from_ref(shard), &options, |_, _| {}).await
}

#[tokio::test]
async fn what_tells_of_moves_is_in_whatever_publication_there_is() {
    let server = Postgres::start(&[]).await;
    let mut client = server.client().await;
    super::super::install(&mut client).await.unwrap();
    client.batch_execute("create publication everything for all tables").await.unwrap();
    for publication in ["everything", "supabase_realtime", "another", "another"] {
        set_up(&server.config(), publication).await.unwrap();
        let listed = format!(
            "select count(*) from pg_publication_tables
             where pubname = '{publication}' and schemaname = 'chat' and tablename = 'moves'"
        );
        assert_eq!(value(&client, &listed).await.unwrap(), 1, "{publication}");
    }
}

#[tokio::test]
async fn a_privilege_that_a_shard_lacks_is_named() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    client
        .batch_execute(
            "create role anon; create role authenticated; create role service_role;
             create role owner login;
             grant anon, authenticated, service_role to owner;
             grant create on database postgres to owner;
             grant usage, create on schema public to owner;",
        )
        .await
        .unwrap();
    let config = ConnectConfig { user: "owner".to_owned(), ..server.config() };
    let session = rowcast::postgres::session::SessionConfig::new("test");
    let mut owner = rowcast::postgres::session::connect(&config, &session).await.unwrap();
    let chat = Chat { publication: "mine".to_owned(), general_room: false };
    migrations::run(&mut owner, &Options { create_roles: false, chat: Some(chat) }).await.unwrap();
    client
        .batch_execute(
            "create publication foreign_one for table messages, room_members, message_reactions",
        )
        .await
        .unwrap();
    let refused = set_up(&config, "foreign_one").await.unwrap_err();
    let ShardError::Migrate { source: MigrateError::Denied { user, message, .. }, .. } = &refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((&**user, &**message), ("owner", "must be owner of publication foreign_one"));
    let text = rowcast::telemetry::reason(&refused);
    assert_eq!(text.matches("must be owner").count(), 1, "{text}");
}
