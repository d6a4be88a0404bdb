//! One message to many sockets, until every outbox is empty again.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use rowcast::{
    hub::{Interest, Key, Subscriber, outbox::Outbox, topics::Hub},
    protocol::{Vsn, prepared::Fanout},
    topic::Topic,
};

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 100, 10_000])]
fn publish_and_drain(bencher: Bencher<'_, '_>, sockets: usize) {
    let hub = Hub::new();
    let topic = Topic::parse("realtime:room").unwrap();
    let key = Key { tenant: Arc::from("tenant"), private: false, topic };
    let members: Vec<Arc<Subscriber>> = (0..sockets)
        .map(|n| {
            let vsn = if n % 2 == 0 { Vsn::V1 } else { Vsn::V2 };
            Subscriber::new(vsn, Arc::new(Outbox::new(1 << 20)), Interest::ALL)
        })
        .collect();
    for member in &members {
        hub.join(&key, member);
    }
    let payload = Bytes::from_static(br#"{"event":"e","payload":{"n":1}}"#);
    let message = Fanout::Json { event: "broadcast", payload };
    let mut items = Vec::new();
    bencher.counter(ItemsCount::new(sockets)).bench_local(|| {
        let delivered = hub.publish(&key, &message, Interest::BROADCAST, None);
        let mut drained = 0;
        for member in &members {
            member.outbox.drain(&mut items);
            drained += items.len();
            items.clear();
        }
        assert_eq!((delivered, drained), (sockets as u64, sockets));
    });
}
