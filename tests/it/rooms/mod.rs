//! Chat over real sockets and HTTP, with a real PostgreSQL behind.

mod forged;
mod http;
mod live;
mod members;
mod receipts;
mod verbs;

use rowcast::{
    protocol::Vsn,
    runtime::clock,
    tenants::{
        chat_schema::Chat,
        migrations::{self, Options},
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    client::{Client, Message},
    eventually,
    postgres::Postgres,
    server::{Answer, Server},
    tokens::signed,
};

/// A database with the chat, a server on it, and a DBA.
pub struct World {
    // In this order, so that the server goes before its database.
    pub server: Server,
    pub sql: rowcast::postgres::pool::Client,
    pub postgres: Postgres,
}

/// A user, with a token.
#[derive(Debug, Clone)]
pub struct User {
    pub id: Uuid,
    pub token: String,
}

pub fn user(name: &str) -> User {
    let id = Uuid::new_v4();
    let claims = json!({
        "role": "authenticated", "sub": id, "exp": clock::unix_seconds() + 3600,
        "user_metadata": { "name": name },
    });
    User { id, token: signed(claims) }
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        Self::on(Postgres::start(&[]).await, env).await
    }

    pub async fn on(postgres: Postgres, env: &[(&str, &str)]) -> Self {
        let mut sql = postgres.client().await;
        let publication = "supabase_realtime".to_owned();
        let chat = Some(Chat { publication, general_room: false });
        migrations::run(&mut sql, &Options { create_roles: true, chat }).await.unwrap();
        let server = Server::start(&postgres, env).await;
        let world = Self { server, sql, postgres };
        world.streams().await;
        world
    }

    /// Waits until the stream runs.
    pub async fn streams(&self) {
        eventually("the stream runs", async || {
            let row = self
                .sql
                .query_one("select count(*) from pg_replication_slots where active", &[])
                .await
                .unwrap();
            (row.get::<_, i64>(0) > 0).then_some(())
        })
        .await;
    }

    pub async fn run(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap();
    }

    pub async fn value(&self, query: &str) -> Value {
        let row = self.sql.query_one(&format!("select to_jsonb(({query}))"), &[]).await.unwrap();
        row.get::<_, Option<Value>>(0).unwrap_or_default()
    }

    /// A request of a user.
    pub async fn ask(&self, who: &User, method: &str, path: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", who.token);
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/chat/v1{path}");
        self.server.call(method, &path, &headers, body.as_bytes()).await.unwrap()
    }

    /// The same, which must succeed.
    pub async fn done(&self, who: &User, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(who, method, path, body).await;
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
        answer.json()
    }

    /// A private room of these users, the first of whom owns it.
    pub async fn room(&self, users: &[&User]) -> Uuid {
        let members: Vec<Uuid> = users.iter().skip(1).map(|user| user.id).collect();
        let room = json!({ "name": "Tea", "members": members });
        let room = self.done(users[0], "POST", "/rooms", room).await;
        room["id"].as_str().unwrap().parse().unwrap()
    }

    /// A socket of a user that has joined a room.
    pub async fn enter(&self, who: &User, room: Uuid) -> Room {
        self.enter_with(who, room, json!({ "ack": true })).await
    }

    pub async fn enter_with(&self, who: &User, room: Uuid, broadcast: Value) -> Room {
        let client = Client::connect_as(&self.server, Vsn::V2, &who.token).await;
        Room::enter(client, room, broadcast).await
    }
}

/// A socket that has joined a room.
pub struct Room {
    pub client: Client,
    pub topic: String,
}

impl Room {
    pub async fn enter(mut client: Client, room: Uuid, broadcast: Value) -> Self {
        let topic = format!("realtime:room:{room}");
        client.join(&topic, json!({ "private": true, "broadcast": broadcast })).await;
        Self { client, topic }
    }

    /// Sends a verb and waits for its answer.
    pub async fn say(&mut self, verb: &str, payload: Value) -> Message {
        let payload =
            json!({ "type": "broadcast", "event": format!("chat:{verb}"), "payload": payload });
        self.client.ask(&self.topic, "broadcast", payload).await
    }

    /// The same, which must succeed. Returns the answer's content.
    pub async fn does(&mut self, verb: &str, payload: Value) -> Value {
        let reply = self.say(verb, payload).await;
        assert!(reply.is_ok(), "{verb}: {reply:?}");
        reply.payload["response"].clone()
    }

    /// The same, which must be refused with this code, told twice.
    pub async fn cannot(&mut self, verb: &str, payload: Value, code: &str) {
        let reply = self.say(verb, payload).await;
        assert_eq!(reply.payload["status"], "error", "{verb}: {reply:?}");
        let response = &reply.payload["response"];
        assert_eq!(response["code"], code, "{verb}: {response}");
        assert!(response["message"].as_str().unwrap().ends_with('.'), "{response}");
        let told = self.hears("error").await;
        assert_eq!((&told["code"], &told["verb"]), (&json!(code), &json!(format!("chat:{verb}"))));
    }

    /// Sends a message and returns it.
    pub async fn send(&mut self, content: &str) -> Value {
        self.does("send", json!({ "id": Uuid::new_v4(), "content": content })).await
    }

    /// The payload of the next such push.
    pub async fn hears(&mut self, event: &str) -> Value {
        let (name, topic) = (format!("chat:{event}"), self.topic.clone());
        let fits = |message: &Message| {
            message.topic == topic
                && message.event == "broadcast"
                && message.payload["event"] == json!(name)
        };
        self.client.wait(&name, fits).await.payload["payload"].clone()
    }

    /// Waits for a `chat:member` about this user, and passes over others: who
    /// was taken in before may be told after one has joined.
    pub async fn hears_of_member(&mut self, user: &User, change: &str) -> Value {
        loop {
            let push = self.hears("member").await;
            if push["user_id"] == json!(user.id) && push["change"] == change {
                return push;
            }
        }
    }

    /// The events of pushes that came and nobody waited for, in order.
    pub async fn heard(&mut self) -> Vec<String> {
        let backlog = self.client.settled().await;
        let pushes = backlog.iter().filter(|message| message.event == "broadcast");
        let events = pushes.filter_map(|message| message.payload["event"].as_str());
        // Who is online, and who was taken in before, is told when it is told; that
        // the slot is new may come after the first joins.
        let late = ["chat:status", "chat:member", "chat:resync"];
        events.filter(|event| !late.contains(event)).map(str::to_owned).collect()
    }
}
