//! `rowcast doctor` against real servers: a clean database has no finding, each
//! planted fault has its own, and the SQL that is printed makes it go away.

use rowcast::postgres::pool::Client;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use crate::support::{postgres::Postgres, redis::Redis, tokens::SECRET};

/// A database as it should be, and what is said about it.
struct Clinic {
    sql: Client,
    postgres: Postgres,
    /// Settings beside the usual ones.
    env: Vec<(&'static str, String)>,
}

/// What the doctor said.
struct Answer {
    findings: Vec<Value>,
    is_ill: bool,
    text: String,
}

/// One table that is published, secured and readable.
const CLEAN: &str = "create table notes (id int primary key, owner uuid, body text); \
    alter table notes enable row level security; \
    alter table notes replica identity full; \
    create policy mine on notes for select to authenticated using (owner = auth.uid()); \
    grant select on notes to authenticated; \
    create publication supabase_realtime for table notes";

impl Clinic {
    async fn open() -> Self {
        let clinic = Self::on(Postgres::start(&[]).await).await;
        clinic.rowcast(&["migrate", "--create-roles"]).await;
        clinic.run(CLEAN).await;
        clinic
    }

    /// In a database where nothing is yet.
    async fn on(postgres: Postgres) -> Self {
        Self {
            sql: postgres.client().await,
            postgres,
            env: vec![("API_JWT_SECRET", SECRET.into())],
        }
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.into()));
    }

    async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn rowcast(&self, args: &[&str]) -> std::process::Output {
        let config = self.postgres.config();
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", config.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
        command.env_clear().env("DATABASE_URL", url).args(args);
        command.envs(self.env.iter().map(|(name, value)| (*name, value.as_str())));
        command.output().await.unwrap()
    }

    async fn ask(&self) -> Answer {
        let output = self.rowcast(&["doctor", "--json"]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let document: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        let errors = document["errors"].as_u64().unwrap();
        assert_eq!(output.status.success(), errors == 0, "{text}");
        let findings = document["findings"].as_array().unwrap().clone();
        Answer { findings, is_ill: errors > 0, text }
    }

    /// Asks for one finding. Its SQL is then run as it was printed.
    async fn mend(&self, code: &str, level: &str) {
        let answer = self.ask().await;
        let finding = answer.find(code);
        assert_eq!(finding["level"], level, "{finding}");
        let mut steps = 0;
        for step in finding["mend"].as_array().unwrap() {
            if let Some(sql) = step["sql"].as_str() {
                self.run(sql).await;
                steps += 1;
            }
        }
        assert!(steps > 0, "no SQL mends {code}");
    }

    /// Plants a fault, asks, and runs the SQL that mends it.
    async fn plant(&self, fault: &str, code: &str, level: &str) {
        self.run(fault).await;
        self.mend(code, level).await;
        self.ask().await.lacks(code);
    }
}

impl Answer {
    fn find(&self, code: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code} in {}", self.text))
    }

    fn lacks(&self, code: &str) {
        let found = self.findings.iter().any(|finding| finding["code"] == code);
        assert!(!found, "{code} in {}", self.text);
    }
}

#[tokio::test]
async fn a_clean_database_has_no_finding() {
    let clinic = Clinic::open().await;
    let answer = clinic.ask().await;
    assert!(answer.findings.is_empty(), "{}", answer.text);
    assert!(!answer.is_ill);
    let output = clinic.rowcast(&["doctor"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("Nothing is wrong."), "{text}");
    for part in ["server", "role", "publication", "tables", "schema", "slot", "tokens", "redis"] {
        assert!(text.contains(&format!("\n  {part} ")), "{part}: {text}");
    }
}

#[tokio::test]
async fn faults_of_tables_are_found_and_mended() {
    let clinic = Clinic::open().await;
    let plant = async |fault, code, level| clinic.plant(fault, code, level).await;
    plant("alter table notes replica identity nothing", "replica_identity_nothing", "error").await;
    plant("alter table notes replica identity default", "replica_identity_deletes", "note").await;
    let keyless = "alter table notes replica identity default; \
        alter table notes drop constraint notes_pkey";
    plant(keyless, "primary_key", "error").await;
    plant("alter table notes disable row level security", "rls_off", "warning").await;
    plant("drop policy mine on notes", "rls_no_policy", "warning").await;
    plant("revoke select on notes from authenticated", "grants", "warning").await;
    let schema = "create schema \"My shop\"; create table \"My shop\".\"Order\" (id int primary key); \
        alter publication supabase_realtime add table \"My shop\".\"Order\"";
    plant(schema, "grants", "warning").await;
    assert_eq!(clinic.ask().await.find("rls_off")["level"], "warning");
}

#[tokio::test]
async fn faults_of_publications_are_found_and_mended() {
    let clinic = Clinic::open().await;
    let plant = async |fault, code, level| clinic.plant(fault, code, level).await;
    plant("drop publication supabase_realtime", "publication_missing", "warning").await;
    let empty = "alter publication supabase_realtime drop table notes";
    plant(empty, "publication_empty", "warning").await;
    let all = "drop publication supabase_realtime; \
        create publication supabase_realtime for all tables";
    plant(all, "publication_all_tables", "warning").await;
    let insert = "alter publication supabase_realtime set (publish = 'insert')";
    plant(insert, "publication_operations", "warning").await;
    let parts = "create table logs (id int primary key) partition by range (id); \
        create table logs1 partition of logs for values from (0) to (9); \
        alter publication supabase_realtime add table logs";
    plant(parts, "publication_partitions", "warning").await;
    let messages = "create publication supabase_realtime_messages_publication \
        for table realtime.messages, notes";
    plant(messages, "messages_publication", "warning").await;
    let updates =
        "alter publication supabase_realtime_messages_publication set (publish = 'update')";
    plant(updates, "messages_operations", "error").await;
}

#[tokio::test]
async fn faults_of_messages_are_found_and_mended() {
    let clinic = Clinic::open().await;
    let plant = async |fault, code, level| clinic.plant(fault, code, level).await;
    let today = "do $$ begin execute 'drop table realtime.messages_' \
        || to_char(now() at time zone 'utc', 'YYYY_MM_DD'); end $$";
    plant(today, "partition_today", "error").await;
    let open = "alter table realtime.messages disable row level security";
    plant(open, "messages_rls_off", "error").await;
    let revoke = "revoke all on realtime.messages from anon";
    plant(revoke, "messages_grants", "warning").await;
    clinic.run("delete from realtime.rowcast_migrations where version like '%changes'").await;
    assert_eq!(clinic.ask().await.find("schema_behind")["level"], "warning");
    clinic.rowcast(&["migrate"]).await;
    clinic.ask().await.lacks("schema_behind");
}

#[tokio::test]
async fn an_empty_database_lacks_roles_and_schema() {
    let mut clinic = Clinic::on(Postgres::start(&[]).await).await;
    clinic.set("ROWCAST_AUTO_MIGRATE", "false");
    let answer = clinic.ask().await;
    assert_eq!(answer.find("schema_missing")["level"], "error");
    assert_eq!(answer.find("publication_missing")["level"], "warning");
    clinic.mend("client_roles", "error").await;
    clinic.rowcast(&["migrate"]).await;
    let answer = clinic.ask().await;
    answer.lacks("client_roles");
    answer.lacks("schema_missing");
}

#[tokio::test]
async fn privileges_that_a_role_lacks_are_found_and_granted() {
    let mut clinic = Clinic::open().await;
    let port = clinic.postgres.config().port;
    clinic
        .run(
            "create role \"the server\" login; create role keeper; \
             alter table realtime.messages owner to keeper; \
             alter role service_role nobypassrls",
        )
        .await;
    let role = format!("postgres://the%20server@127.0.0.1:{port}/postgres");
    clinic.set("DATABASE_URL", role);
    let answer = clinic.ask().await;
    assert!(answer.is_ill);
    for (code, level) in [
        ("role_replication", "error"),
        ("role_membership", "error"),
        ("schema_privileges", "error"),
        ("messages_owner", "error"),
        ("publication_owner", "note"),
        ("service_role", "warning"),
    ] {
        clinic.mend(code, level).await;
        clinic.ask().await.lacks(code);
    }
    clinic.run("drop publication supabase_realtime; revoke create on database postgres from \"the server\"").await;
    clinic.mend("role_create", "error").await;
    clinic.ask().await.lacks("role_create");
    clinic.run("alter role \"the server\" in database postgres set statement_timeout = '5s'").await;
    clinic.run("alter role \"the server\" set idle_session_timeout = '1min'").await;
    clinic.run("alter role \"the server\" set wal_sender_timeout = 0").await;
    for (code, level) in [
        ("statement_timeout", "warning"),
        ("idle_session_timeout", "note"),
        ("wal_sender_timeout", "warning"),
    ] {
        clinic.mend(code, level).await;
        clinic.ask().await.lacks(code);
    }
}

#[tokio::test]
async fn a_database_that_lets_nobody_in_is_told() {
    let mut clinic = Clinic::open().await;
    let config = clinic.postgres.config();
    clinic.set("DATABASE_URL", format!("postgres://nobody@127.0.0.1:{}/postgres", config.port));
    let answer = clinic.ask().await;
    assert_eq!(answer.find("database_unreachable")["level"], "error");
    // The other checks go on.
    assert!(answer.text.contains("tokens"), "{}", answer.text);
}

#[tokio::test]
async fn slots_that_hold_back_log_are_told_and_dropped() {
    let mut clinic = Clinic::on(Postgres::start(&["max_wal_size=2GB"]).await).await;
    clinic.rowcast(&["migrate", "--create-roles"]).await;
    clinic.run(CLEAN).await;
    clinic.set("ROWCAST_WAL_BUDGET_MB", "64");
    let slot = "select pg_create_logical_replication_slot('rowcast_realtime_slot', 'pgoutput')";
    clinic.plant(slot, "slot_inactive", "note").await;

    clinic.run(slot).await;
    for number in 0..4 {
        // A segment has 16 MB.
        clinic.run(&format!("insert into notes values ({number})")).await;
        clinic.run("select pg_switch_wal()").await;
    }
    clinic.mend("slot_behind", "warning").await;
    clinic.ask().await.lacks("slot_behind");

    clinic.run(slot).await;
    clinic.run("alter system set max_slot_wal_keep_size = '1MB'").await;
    clinic.run("select pg_reload_conf()").await;
    for number in 10..14 {
        clinic.run(&format!("insert into notes values ({number})")).await;
        clinic.run("select pg_switch_wal()").await;
    }
    clinic.run("checkpoint").await;
    clinic.mend("slot_lost", "error").await;
    clinic.ask().await.lacks("slot_lost");

    let foreign = "select pg_create_physical_replication_slot('rowcast_realtime_slot')";
    clinic.plant(foreign, "slot_foreign", "error").await;
}

#[tokio::test]
async fn what_a_restart_changes_is_told_with_it() {
    let mut clinic = Clinic::open().await;
    for number in 0..10 {
        clinic.run(&format!("select pg_create_physical_replication_slot('other{number}')")).await;
    }
    clinic.mend("replication_slots", "error").await;
    clinic.postgres.stop().await;
    clinic.postgres.resume().await;
    clinic.sql = clinic.postgres.client().await;
    clinic.ask().await.lacks("replication_slots");

    // These two are on this server's command line, which wins over what the SQL sets.
    let postgres = Postgres::start(&["wal_level=replica", "max_wal_senders=0"]).await;
    let clinic = Clinic::on(postgres).await;
    clinic.mend("wal_level", "error").await;
    clinic.mend("wal_senders", "error").await;
    let sql = "select count(*) from pg_file_settings where sourcefile like '%auto.conf' \
        and ((name = 'wal_level' and setting = 'logical') \
          or (name = 'max_wal_senders' and setting::int > 0))";
    assert_eq!(clinic.sql.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn secrets_that_others_know_are_told_and_never_shown() {
    let mut clinic = Clinic::open().await;
    clinic.env.clear();
    assert_eq!(clinic.ask().await.find("jwt_secret_missing")["level"], "error");
    let example = "super-secret-jwt-token-with-at-least-32-characters-long";
    clinic.set("API_JWT_SECRET", example);
    let answer = clinic.ask().await;
    assert_eq!(answer.find("jwt_secret_example")["level"], "error");
    assert!(!answer.text.contains(example));
    clinic.set("API_JWT_SECRET", "hunter2");
    let answer = clinic.ask().await;
    assert_eq!(answer.find("jwt_secret_short")["level"], "warning");
    assert!(!answer.text.contains("hunter2") && !answer.is_ill);
}

#[tokio::test]
async fn a_key_set_is_fetched_and_looked_at() {
    let mut clinic = Clinic::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    clinic.set("ROWCAST_JWKS_URL", &url);
    clinic.set("ROWCAST_JWKS_ALLOW_HTTP", "true");
    let set =
        r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0c2VjcmV0"},{"kty":"RSA","kid":"b"}]}"#;
    let publisher = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", set.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(set.as_bytes()).await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(clinic.ask(), publisher);
    assert_eq!(answer.find("jwks_shared_secret")["level"], "error");
    assert_eq!(answer.find("jwks_key")["level"], "warning");
    assert!(!answer.text.contains("c2VjcmV0"), "{}", answer.text);
    drop(listener);
    assert_eq!(clinic.ask().await.find("jwks_unreachable")["level"], "error");
}

#[tokio::test]
async fn redis_is_asked_how_it_is() {
    let mut clinic = Clinic::open().await;
    let settings = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let redis = Redis::start(&settings).await;
    clinic.set("ROWCAST_REDIS_URL", redis.url());
    let answer = clinic.ask().await;
    assert_eq!(answer.find("redis_eviction")["level"], "warning");
    redis.command(&["config", "set", "maxmemory-policy", "noeviction"]);
    assert!(clinic.ask().await.findings.is_empty());
    redis.command(&["config", "set", "maxmemory", "1kb"]);
    assert_eq!(clinic.ask().await.find("redis_memory")["level"], "warning");
    let url = redis.url().replace("://", "://u:hunter2@");
    drop(redis);
    clinic.set("ROWCAST_REDIS_URL", url);
    let answer = clinic.ask().await;
    assert_eq!(answer.find("redis_unreachable")["level"], "error");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
}
