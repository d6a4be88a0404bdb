//! The chat's tables and functions, in a real PostgreSQL.

use rowcast::{
    postgres::pool::Client,
    tenants::{
        chat_schema::Chat,
        migrations::{self, MigrateError, Options, Report},
    },
};
use serde_json::{Value, json};

use crate::support::postgres::Postgres;

pub mod faults;
mod install;
mod members;
mod messages;
mod reading;
mod security;
mod sequence;
mod shards;

/// The room of most tests.
const ROOM: &str = "10000000-0000-4000-8000-000000000000";

/// The id of a person by the first four letters.
fn person(name: &str) -> String {
    let number = name.bytes().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(byte));
    format!("{number:08x}-0000-4000-8000-00000000000a")
}

/// The id of the n-th message.
fn message(n: u32) -> String {
    format!("20000000-0000-4000-8000-{n:012}")
}

/// What installs everything.
fn everything() -> Options {
    let chat = Chat { publication: "supabase_realtime".to_owned(), general_room: true };
    Options { create_roles: true, chat: Some(chat) }
}

async fn install(client: &mut Client) -> Result<Report, MigrateError> {
    migrations::run(client, &everything()).await
}

struct Bench {
    client: Client,
    server: Postgres,
}

impl Bench {
    /// A database with the chat.
    async fn start() -> Self {
        let server = Postgres::start(&["max_connections=60"]).await;
        let mut client = server.client().await;
        install(&mut client).await.unwrap();
        Self { client, server }
    }

    /// And with a private room of its owner ann and these members.
    async fn with_room(members: &[&str]) -> Self {
        let bench = Self::start().await;
        bench
            .sql(&format!(
                "insert into rooms (id, name) values ('{ROOM}', 'room');
                 insert into room_members (room_id, user_id, role, name) values ('{ROOM}', '{}', 'owner', 'Ann')",
                person("ann")
            ))
            .await;
        for name in members {
            bench
                .sql(&format!(
                    "insert into room_members (room_id, user_id, name) values ('{ROOM}', '{}', '{name}')",
                    person(name)
                ))
                .await;
        }
        bench
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn value(&self, sql: &str) -> Value {
        value(&self.client, sql).await.unwrap()
    }

    /// A session of a signed-in person.
    async fn user(&self, name: &str) -> User {
        let claims = json!({"sub": person(name), "role": "authenticated", "name": name});
        self.session("authenticated", &claims).await
    }

    async fn session(&self, role: &str, claims: &Value) -> User {
        let client = self.server.client().await;
        client
            .batch_execute(&format!(
                "set role {role}; select set_config('request.jwt.claims', '{claims}', false)"
            ))
            .await
            .unwrap();
        User { client }
    }
}

struct User {
    client: Client,
}

impl User {
    /// The value of an expression, such as a call.
    async fn get(&self, sql: &str) -> Value {
        value(&self.client, sql).await.unwrap()
    }

    /// The code with which a statement is refused, and its detail.
    async fn refused(&self, sql: &str) -> (String, Option<String>) {
        let error = self.client.query(&format!("select {sql}"), &[]).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        (error.code().code().to_owned(), error.detail().map(str::to_owned))
    }

    /// How many rows a statement shows or changes, or the code of its refusal.
    async fn rows(&self, sql: &str) -> String {
        match self.client.execute(sql, &[]).await {
            Ok(count) => count.to_string(),
            Err(error) => error.code().unwrap().code().to_owned(),
        }
    }

    async fn send(&self, n: u32, content: &str) -> Value {
        self.get(&format!("chat.send('{ROOM}', '{}', '{content}')", message(n))).await
    }
}

async fn value(client: &Client, sql: &str) -> Result<Value, tokio_postgres::Error> {
    let row = client.query_one(&format!("select to_jsonb(({sql}))"), &[]).await?;
    Ok(row.get::<_, Option<Value>>(0).unwrap_or_default())
}
