//! What can happen to Redis itself.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{
    ready,
    rows::{Listener, Trio},
    talk::{Speaker, meet},
};
use crate::support::{eventually, proxy::Faults, redis::Redis};

async fn speakers(trio: &Trio) -> Vec<Speaker> {
    let mut speakers = Vec::new();
    for (server, name) in trio.all().into_iter().zip(["ann", "bob", "cyd"]) {
        speakers.push(Speaker::at(server, name).await);
    }
    speakers
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_before_redis_serve_alone_until_it_is_there() {
    let mut redis = Redis::start(&[]).await;
    redis.kill9();
    let mut trio = Trio::begin(&[], redis).await;
    let mut speakers = speakers(&trio).await;
    for server in trio.all() {
        ready(server, 503).await;
    }
    for speaker in &mut speakers {
        speaker.say(20).await;
        speaker.hears().await;
    }
    let listeners = {
        let all = [&trio.world.server, &trio.servers[0], &trio.servers[1]];
        let comes = async {
            sleep(Duration::from_millis(300)).await;
            trio.redis.resume().await;
        };
        // Asked for while nobody can read the database, and live when somebody does.
        let (listeners, ()) = tokio::join!(join_all(all.map(Listener::on)), comes);
        listeners
    };
    let begun = Instant::now();
    for server in trio.all() {
        ready(server, 200).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    meet(&mut speakers).await;
    let writer = trio.write();
    writer.more(20).await;
    let n = writer.stop().await;
    for mut listener in listeners {
        listener.has_all(n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_wait_for_a_redis_without_memory_and_nothing_is_lost() {
    let trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    let mut speakers = speakers(&trio).await;
    let writer = trio.write();
    writer.more(20).await;
    trio.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    // The reader gives up, and so does the next one.
    eventually("somebody says so", async || {
        let is_said = |log: String| log.contains("changes cannot be shared");
        trio.all().iter().any(|server| is_said(server.log())).then_some(())
    })
    .await;
    writer.more(20).await;
    meet(&mut speakers).await;
    trio.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    writer.more(20).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all(n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_messages_redis_drops_subscribes_again() {
    let trio = Trio::start(&[("ROWCAST_OUTBOX_BYTES", "100000000")]).await;
    let mut listeners = trio.listen().await;
    let mut speakers = speakers(&trio).await;
    meet(&mut speakers).await;
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 0 0"];
    trio.redis.command(&limit);
    let slow = 2;
    trio.all()[slow].hang(true);
    trio.ways[slow].redis.set(Faults { holds_answers: true, ..Faults::default() });
    // Until what the system buffers is full, and then what Redis may.
    eventually("Redis drops the slow one", async || {
        speakers[0].shout(20, 50_000).await;
        trio.redis.log().contains("overcoming of output buffer limits").then_some(())
    })
    .await;
    trio.ways[slow].redis.heal();
    trio.all()[slow].hang(false);
    let writer = trio.write();
    meet(&mut speakers).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all(n).await;
    }
}

/// A replica in step with the servers' Redis.
async fn replica(trio: &Trio) -> Redis {
    let address = trio.redis.address();
    let (host, port) = address.split_once(':').unwrap();
    let replica =
        Redis::start(&["--replicaof", host, port, "--repl-diskless-sync-delay", "0"]).await;
    eventually("the replica has everything", async || {
        replica.command(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    })
    .await;
    replica
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_the_newest_changes_is_noticed() {
    let mut trio = Trio::start(&[]).await;
    let replica = replica(&trio).await;
    let mut listeners = trio.listen().await;
    let writer = trio.write();
    writer.more(20).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    writer.more(20).await;
    trio.redis.kill9();
    for way in &trio.ways {
        way.redis.lead_to(&replica.address());
    }
    writer.more(20).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all_or_was_told(n).await;
    }
}
