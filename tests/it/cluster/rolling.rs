//! Servers are replaced one after the other, and nobody misses anything that is stored.

use std::{collections::BTreeSet, time::Duration};

use rowcast::{
    postgres::{connect::ConnectConfig, session},
    runtime,
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    presence::Watcher,
    ready,
    rows::{TABLE, TOPIC, Writer},
    streams,
    talk::{Speaker, meet},
};
use crate::{
    chat::faults::Party,
    rooms::World,
    support::{PATIENCE, client::Client, dice::Dice, redis::Redis, server::Server, tokens::token},
};

/// A client of the rows that goes to any server, and reads in the table what it
/// may have missed.
struct Reader {
    addresses: Vec<String>,
    database: ConnectConfig,
    dice: Dice,
    rows: BTreeSet<i64>,
    /// How many rows there are, when that is known.
    all: watch::Receiver<Option<i64>>,
}

impl Reader {
    async fn run(mut self) -> BTreeSet<i64> {
        loop {
            let address = &self.addresses[self.dice.roll(self.addresses.len())];
            if let Some(client) = Client::dial(address, &token("anon")).await
                && self.listen(client).await.is_some()
            {
                return self.rows;
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Some when it has all, none when the socket is gone.
    async fn listen(&mut self, mut client: Client) -> Option<()> {
        let binding = json!([{ "event": "INSERT", "schema": "public", "table": "rows" }]);
        let join = json!({ "config": { "postgres_changes": binding } });
        client.try_push(TOPIC, "phx_join", join).await?;
        loop {
            let all = *self.all.borrow();
            if all.is_some_and(|all| self.rows.iter().copied().eq(1..=all)) {
                return Some(());
            }
            let message = tokio::select! {
                message = client.read() => message.ok()?,
                _ = self.all.changed() => continue,
            };
            match &*message.event {
                // Subscribed, or perhaps something is missing.
                "system" => self.read().await,
                "postgres_changes" => {
                    self.rows.insert(message.payload["data"]["record"]["n"].as_i64().unwrap());
                }
                // The server stops, and closes the socket soon.
                _ => {}
            }
        }
    }

    async fn read(&mut self) {
        let settings = session::SessionConfig::new("reader");
        let client = session::connect(&self.database, &settings).await.unwrap();
        let rows = client.query("select n from rows", &[]).await.unwrap();
        self.rows.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_replaced_one_by_one_cost_nobody_a_row_or_a_message() {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let env = [("ROWCAST_REDIS_URL", &*url), ("ROWCAST_DB_POOL_SIZE", "4")];
    let mut world = World::start_with(&env).await;
    world.run(TABLE).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(Server::start(&world.postgres, &env).await);
    }
    for server in [&world.server, &others[0], &others[1]] {
        ready(server, 200).await;
        streams(server).await;
    }
    let servers = [&world.server, &others[0], &others[1]];
    let addresses: Vec<String> = servers.map(|server| server.address().to_owned()).into();
    let party = Party::begin(&world, &servers, &mut Dice(1)).await;
    let (tell, all) = watch::channel(None);
    let database = world.postgres.config();
    let readers: Vec<_> = (0..3)
        .map(|seed| {
            let (addresses, database, all) = (addresses.clone(), database.clone(), all.clone());
            let (dice, rows) = (Dice(seed), BTreeSet::new());
            let reader = Reader { addresses, database, dice, rows, all };
            runtime::spawn("reader", reader.run())
        })
        .collect();
    let writer = Writer::start(database);

    for at in 0..3 {
        party.more(20).await;
        writer.more(20).await;
        let server = if at == 0 { &mut world.server } else { &mut others[at - 1] };
        server.terminate();
        assert!(server.wait_exit().await.success());
        // The others go on without it.
        party.more(20).await;
        writer.more(20).await;
        server.resume().await;
        ready(server, 200).await;
    }

    let n = writer.stop().await;
    tell.send_replace(Some(n));
    for reader in readers {
        let rows = timeout(PATIENCE, reader).await.expect("a reader has all").unwrap();
        assert!(rows.into_iter().eq(1..=n));
    }
    party.end(&mut world).await;
    let (mut speakers, mut watchers) = (Vec::new(), Vec::new());
    let servers = [&world.server, &others[0], &others[1]];
    for (server, name) in servers.into_iter().zip(["ann", "bob", "cyd"]) {
        speakers.push(Speaker::at(server, name).await);
        let mut watcher = Watcher::join(Client::connect(server).await, name).await;
        watcher.track().await;
        watchers.push(watcher);
    }
    meet(&mut speakers).await;
    for watcher in &mut watchers {
        watcher.sees(&["ann", "bob", "cyd"]).await;
    }
}
