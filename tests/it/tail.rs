//! `rowcast tail` and what helps at the command line.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

use crate::support::{PATIENCE, server::World, tokens::SECRET};

const TABLE: &str = "create schema if not exists auth; \
    create table todos (id int primary key, owner text, title text); \
    alter table todos enable row level security; \
    create policy own on todos for select to authenticated \
      using (owner = current_setting('request.jwt.claims')::jsonb ->> 'sub'); \
    grant select on todos to authenticated, service_role; \
    alter publication supabase_realtime add table todos";

/// A running `rowcast tail`.
struct Tail {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    fn start(world: &World, args: &[&str]) -> Self {
        let (_, port) = world.server.address().split_once(':').unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
        command.env_clear().env("PORT", port).env("API_JWT_SECRET", SECRET);
        command.arg("tail").args(args).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, out, err }
    }

    /// The next line of changes.
    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.out.next_line()).await.expect("a line in time");
        line.unwrap().expect("a line")
    }

    /// Waits until it says so beside the changes.
    async fn says(&mut self, wanted: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.err.next_line()).await.expect(wanted);
            let line = line.unwrap().expect(wanted);
            if line.contains(wanted) {
                return line;
            }
        }
    }

    async fn subscribed(mut self) -> Self {
        self.says("Subscribed to PostgreSQL").await;
        self
    }
}

#[tokio::test]
async fn everybody_sees_what_is_theirs() {
    let world = World::start(TABLE).await;
    let mut all = Tail::start(&world, &["todos", "--count", "3"]).subscribed().await;
    let mut ann = Tail::start(&world, &["public.todos", "--sub", "ann"]).subscribed().await;
    let filter = ["todos", "--filter", "id=gt.1", "--event", "insert", "--json"];
    let mut late = Tail::start(&world, &filter).subscribed().await;
    world
        .run(&[
            "insert into todos values (1, 'bob', 'one')",
            "insert into todos values (2, 'ann', 'two')",
            "update todos set title = 'new' where id = 2",
        ])
        .await;
    assert!(all.line().await.ends_with(r#"INSERT public.todos id=1 owner="bob" title="one""#));
    assert!(all.line().await.contains("id=2"));
    assert!(all.line().await.ends_with(r#"UPDATE public.todos id=2 owner="ann" title="new""#));
    assert!(all.child.wait().await.unwrap().success(), "it ends after three");
    assert!(ann.line().await.ends_with(r#"INSERT public.todos id=2 owner="ann" title="two""#));
    let raw: Value = serde_json::from_str(&late.line().await).unwrap();
    assert_eq!((&raw["type"], &raw["record"]["id"]), (&"INSERT".into(), &2.into()));
}

#[tokio::test]
async fn it_connects_again_and_says_what_the_server_says() {
    let mut world = World::start(TABLE).await;
    let mut tail = Tail::start(&world, &["todos"]).subscribed().await;
    world.server.kill9().await;
    tail.says("trying again").await;
    world.server.resume().await;
    let mut tail = tail.subscribed().await;
    world.run(&["insert into todos values (5, 'ann', 'five')"]).await;
    assert!(tail.line().await.contains("id=5"));

    let mut wrong = Tail::start(&world, &["todos", "--filter", "nothing=eq.1"]);
    let said = wrong.says("error:").await;
    assert!(said.contains("nothing"), "{said}");
    assert_eq!(wrong.child.wait().await.unwrap().code(), Some(1));
    let mut forged = Tail::start(&world, &["todos", "--token", "a.b.c"]);
    forged.says("401").await;
    let mut nobody = Tail::start(&world, &["todos", "--url", "http://127.0.0.1:1"]);
    nobody.says("cannot reach 127.0.0.1:1").await;
}

#[tokio::test]
async fn shells_and_man_are_told_of_every_command() {
    let run = async |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .env_clear()
            .args(args)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = run(&["--help"]).await;
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(&["completions", shell]).await;
        for word in ["doctor", "tail", "completions", "as-role"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    let page = run(&["man"]).await;
    for command in ["doctor", "tail", "migrate", "token"] {
        assert!(page.contains(&format!("rowcast\\-{command}(1)")), "{command}: {page}");
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(run(&["man", "serve"]).await.contains("DATABASE_URL"));
}
