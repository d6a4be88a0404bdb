//! Redis behind sentinels: a failover is followed, and what it lost is noticed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rowcast::cluster::{
    Metrics,
    log::{About, EntryId, LogError, Turn},
    redis::{Log, Redis, Tls},
};
use tokio::time::{Instant, sleep};

use super::conformance::{Node, Place, conforms, hasty, key};
use crate::support::{self, eventually, redis::Sentinels};

/// Within this a failover is over and followed.
const SOON: Duration = Duration::from_secs(20);

async fn start() -> (Sentinels, Place) {
    let (sentinels, servers) = Sentinels::start().await;
    let place = Place::Redis { url: sentinels.url(), tls: Tls::default(), servers };
    (sentinels, place)
}

fn servers(place: &mut Place) -> &mut Vec<support::redis::Redis> {
    let Place::Redis { servers, .. } = place else { unreachable!() };
    servers
}

/// Says until it is heard, for what is said while somebody is on the way is lost.
pub(super) async fn talk(one: &Node, two: &Node, name: &str) {
    let room = key(false, name);
    two.up(true).await;
    two.enter(&room).await;
    let before = two.heard().len();
    eventually("the nodes meet again", async || {
        let _ = one.say(&room, before);
        sleep(Duration::from_millis(100)).await;
        (two.heard().len() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_bus_through_sentinels_conforms() {
    let (_sentinels, place) = start().await;
    conforms(place).await;
}

#[tokio::test]
async fn nodes_follow_when_the_master_dies() {
    let (mut sentinels, mut place) = start().await;
    // The one that is asked first is away all the time.
    sentinels.kill9(0);
    let (one, two) = (place.node().await, place.node().await);
    talk(&one, &two, "room").await;
    let killed = Instant::now();
    servers(&mut place)[0].kill9();
    one.up(false).await;
    two.up(false).await;
    talk(&one, &two, "room").await;
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
}

#[tokio::test]
async fn nodes_follow_when_the_master_is_replaced() {
    let (sentinels, mut place) = start().await;
    let (one, two) = (place.node().await, place.node().await);
    talk(&one, &two, "room").await;
    sentinels.fail_over();
    let subscribed = ["PUBSUB", "NUMSUB", "rowcast:0:public:t:realtime:room"];
    eventually("two's topic is known to the new master", async || {
        // Sentinels end all connections of a server whose part changes.
        let answer = servers(&mut place)[1].try_command(&subscribed).unwrap_or_default();
        answer.lines().any(|line| line == "1").then_some(())
    })
    .await;
    talk(&one, &two, "room").await;
}

/// Appends an entry, whenever the log can be reached again.
pub(super) async fn append(log: &Log, turn: &mut Turn, n: u64) -> Result<(), LogError> {
    let entry = (EntryId(n, 0), Bytes::from(n.to_string()));
    let begun = Instant::now();
    loop {
        match log.append(turn, 100, std::slice::from_ref(&entry)).await {
            Err(LogError::Away(_)) if begun.elapsed() < SOON => {
                sleep(Duration::from_millis(100)).await;
            }
            Ok(()) => {
                turn.top = entry.0;
                return Ok(());
            }
            other => return other,
        }
    }
}

pub(super) async fn read(log: &Log, turn: &Turn) -> Vec<u64> {
    let entries = eventually("the log can be read", async || {
        log.read(&turn.history, EntryId::default()).await.ok()
    })
    .await;
    entries.iter().map(|entry| entry.id.0).collect()
}

#[tokio::test]
async fn the_log_goes_on_at_the_new_master_or_says_what_is_lost() {
    let (sentinels, mut place) = start().await;
    let bus = Redis::new(&sentinels.url(), hasty(), Metrics::default()).unwrap();
    let (log, reader) = (Arc::new(bus.log("t/slot")), bus.log("t/slot"));
    let about = About { source: (1, 1), ..About::default() };
    let mut turn = log.take("one", &about, None).await.unwrap();
    for n in 1..=3 {
        append(&log, &mut turn, n).await.unwrap();
    }
    assert_eq!(read(&reader, &turn).await, [1, 2, 3]);
    let has_all = ["HGET", "rowcast:0:log:{t/slot}", "top"];
    eventually("the replica has it", async || {
        (servers(&mut place)[1].command(&has_all).trim() == "3-0").then_some(())
    })
    .await;
    servers(&mut place)[0].kill9();
    append(&log, &mut turn, 4).await.unwrap();
    assert_eq!(read(&reader, &turn).await, [1, 2, 3, 4]);

    // As a replica would be that had not got the last one.
    servers(&mut place)[1].command(&["HSET", "rowcast:0:log:{t/slot}", "top", "3-0"]);
    assert!(matches!(append(&log, &mut turn, 5).await, Err(LogError::Lost)));
    let known = (turn.history.clone(), turn.top);
    let next = log.take("two", &about, Some(&known)).await.unwrap();
    assert_ne!(next.history, turn.history);
}
