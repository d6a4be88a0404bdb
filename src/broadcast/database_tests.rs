//! Rows become broadcasts, or are dropped for a reason.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::{
    auth::Keys,
    broadcast::metrics::DatabaseMetrics,
    hub::{
        Subscriber,
        outbox::{Item, Outbox},
    },
    protocol::{Vsn, prepared::Frame},
    replication::{
        change::{Cell, Change},
        position::{Epoch, Lsn},
        relation::{Column, Relation, ReplicaIdentity},
    },
    telemetry::Registry,
    tenants::{Limits, Terms},
    topic::Topic,
};

const ID: &str = "3f1d2f4e-0000-4000-8000-000000000001";
const COLUMNS: [&str; 7] =
    ["topic", "payload", "event", "private", "inserted_at", "id", "binary_payload"];

type Cells = [Option<&'static str>; 7];

const ROW: Cells = [
    Some("a"),
    Some("{\"n\": 1}"),
    Some("e"),
    Some("t"),
    Some("2026-01-01 00:00:00"),
    Some(ID),
    None,
];

struct Bench {
    sink: DatabaseBroadcasts,
    hub: Arc<Hub>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let keys = Keys::new(Some("secret"), None, serde_json::Map::new());
        let tenant = Tenant::new("t", keys, Terms { limits, ..Terms::default() });
        let hub = Arc::new(Hub::new());
        let series = DatabaseMetrics::register(&mut Registry::default()).tenant("t");
        let hour = Duration::from_secs(3600);
        let sink = DatabaseBroadcasts::new(Arc::new(tenant), Arc::clone(&hub), hour, series);
        Self { sink, hub }
    }

    fn member(&self, private: bool) -> Arc<Subscriber> {
        let subscriber = Subscriber::new(Vsn::V2, Arc::new(Outbox::new(10_000)), Interest::ALL);
        let topic = Topic::from_sub_topic("a").unwrap();
        self.hub.join(&Key { tenant: "t".into(), private, topic }, &subscriber);
        subscriber
    }

    async fn insert(&self, table: &str, rows: &[Cells]) {
        let now = i64::try_from(clock::unix_time().as_micros()).unwrap();
        self.sink.deliver(&batch(table, rows, now)).await.unwrap();
    }
}

fn batch(table: &str, rows: &[Cells], committed_at: i64) -> Batch {
    let column = |name: &str| Column {
        name: name.into(),
        type_oid: 25,
        type_modifier: -1,
        is_identity: false,
    };
    let relation = Arc::new(Relation {
        oid: 1,
        version: 1,
        schema: "realtime".into(),
        table: table.into(),
        identity: ReplicaIdentity::Default,
        columns: COLUMNS.map(column).into(),
    });
    let changes = rows.iter().map(|row| Change {
        relation: Arc::clone(&relation),
        operation: Operation::Insert { new: tuple(row) },
    });
    Batch {
        epoch: Epoch { system_id: 1, timeline: 1, generation: 1 },
        commit: Lsn(1),
        xid: 1,
        committed_at,
        first_ordinal: 0,
        is_last: true,
        changes: changes.collect(),
    }
}

fn tuple(row: &Cells) -> Tuple {
    let mut bytes = Vec::new();
    let mut cell = |text: &Option<&str>| match text {
        None => Cell::Null,
        Some(text) => {
            let start = u32::try_from(bytes.len()).unwrap();
            bytes.extend_from_slice(text.as_bytes());
            Cell::Text(start..u32::try_from(bytes.len()).unwrap())
        }
    };
    let cells: Vec<Cell> = row.iter().map(&mut cell).collect();
    Tuple::new(Bytes::from(bytes), cells.into())
}

fn received(member: &Subscriber) -> Vec<Bytes> {
    let mut items = Vec::new();
    member.outbox.drain(&mut items);
    let frame = |item| match item {
        Item::Frame(Frame::Binary(bytes)) => bytes,
        other => panic!("{other:?}"),
    };
    items.into_iter().map(frame).collect()
}

#[tokio::test]
async fn a_row_goes_to_its_namespace_with_its_payload_and_id() {
    let bench = Bench::new(Limits::default());
    let (open, private) = (bench.member(false), bench.member(true));
    bench.insert("messages_2026_01_01", &[ROW]).await;
    let frames = received(&private);
    let expected = format!("\u{4}\u{a}\u{1}\u{2d}\u{1}realtime:ae{{\"id\":\"{ID}\"}}{{\"n\": 1}}");
    assert_eq!(frames, [Bytes::from(expected)]);
    assert!(received(&open).is_empty());

    let [topic, _, event, _, at, id, _] = ROW;
    bench.insert("messages", &[[topic, None, event, Some("f"), at, id, Some("\\xcafe")]]).await;
    let frames = received(&open);
    assert_eq!((frames[0][4], &frames[0][frames[0].len() - 2..]), (0, &[0xca, 0xfe][..]));
    assert!(received(&private).is_empty());
}

#[tokio::test]
async fn rows_that_lack_something_or_are_too_large_are_dropped() {
    let bench = Bench::new(Limits { max_payload_size_in_kb: 0, ..Limits::default() });
    let member = bench.member(true);
    let without = |at: usize| {
        let mut row = ROW;
        row[at] = None;
        row
    };
    let large: &'static str = format!("\"{}\"", "x".repeat(600)).leak();
    let mut too_large = ROW;
    too_large[1] = Some(large);
    let rows: Vec<Cells> = (0..6).map(without).chain([too_large]).collect();
    bench.insert("messages_2026_01_01", &rows).await;
    bench.insert("messagesque", &[ROW]).await;
    assert!(received(&member).is_empty());
    bench.sink.deliver(&batch("messages", &[ROW], 0)).await.unwrap();
    assert!(received(&member).is_empty(), "older than messages are kept");
    bench.insert("messages_2026_01_01", &[ROW]).await;
    assert_eq!(received(&member).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tripped_limit_drops_the_row_and_leaves_the_channels() {
    let bench = Bench::new(Limits { max_events_per_second: 0, ..Limits::default() });
    let member = bench.member(true);
    tokio::time::advance(Duration::from_secs(6)).await;
    bench.insert("messages", &[ROW]).await;
    assert!(received(&member).is_empty());
}

#[tokio::test]
async fn readiness_follows_the_stream() {
    let bench = Bench::new(Limits::default());
    let mut readiness = bench.sink.readiness();
    assert!(!readiness.is_live());
    let epoch = Epoch { system_id: 1, timeline: 1, generation: 1 };
    bench.sink.started(Start { epoch, from: Lsn(0), gap: None }).await;
    readiness.live().await;
    bench.sink.interrupted();
    assert!(!readiness.is_live());
}
