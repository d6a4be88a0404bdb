//! The way to and from other nodes.
//!
//! What a client or the server itself says goes to all nodes. What the log says
//! does not: each node reads it for itself.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cluster::{Bus, Envelope, envelope::Kind, interest::Reached},
    protocol::{
        message::{Encoding, UserBroadcast},
        prepared::Fanout,
    },
};

use super::{ChannelId, Interest, Key, topics::Hub};

/// The event of a broadcast on the wire.
const BROADCAST: &str = "broadcast";

/// What became of a message to all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many outboxes of this node took it.
    pub delivered: u64,
    /// Whether the bus took it for the others; true where there is no bus.
    pub handed_on: bool,
}

impl Hub {
    /// Sends a broadcast to the subscribers of a topic on all nodes, except `skip`.
    pub fn broadcast(&self, key: &Key, message: &Fanout, skip: Option<ChannelId>) -> Spread {
        let delivered = self.publish(key, message, Interest::BROADCAST, skip);
        Spread { delivered, handed_on: self.hand_on(key, message) }
    }

    /// Sends what another node broadcast to the subscribers on this one.
    /// Returns how many outboxes took it.
    pub fn receive(&self, envelope: Envelope) -> u64 {
        let Envelope { key, kind, event, meta, payload, .. } = envelope;
        let Some(message) = fanout(kind, event, meta, payload) else { return 0 };
        self.publish(&key, &message, Interest::BROADCAST, None)
    }

    /// To be waited for before somebody joins a topic, so that they miss nothing
    /// of other nodes. `None` if there is nothing to wait for.
    pub fn reach(&self, key: &Key) -> Option<Reached> {
        self.bus.as_ref()?.interest().reach(key)
    }

    /// The bus to other nodes, if there may be any.
    pub fn bus(&self) -> Option<&Arc<dyn Bus>> {
        self.bus.as_ref()
    }

    /// Whether other nodes can be reached; true where there is no bus.
    pub fn is_connected(&self) -> bool {
        self.bus.as_ref().is_none_or(|bus| bus.interest().is_up())
    }

    fn hand_on(&self, key: &Key, message: &Fanout) -> bool {
        let Some(bus) = &self.bus else { return true };
        let envelope = |kind, event: &str, meta: &str, payload: &Bytes| Envelope {
            node: bus.node(),
            key: key.clone(),
            kind,
            event: event.to_owned(),
            meta: meta.to_owned(),
            payload: payload.clone(),
        };
        let envelope = match message {
            Fanout::Json { payload, .. } => envelope(Kind::Json, BROADCAST, "", payload),
            Fanout::Raw { data, .. } => envelope(Kind::Raw, BROADCAST, "", data),
            Fanout::User { broadcast: UserBroadcast { event, encoding, payload }, meta } => {
                let kind = match encoding {
                    Encoding::Json => Kind::UserJson,
                    Encoding::Binary => Kind::UserBytes,
                };
                envelope(kind, event, meta, payload)
            }
        };
        bus.publish(&envelope).is_ok()
    }
}

/// `None` for what is no broadcast.
fn fanout(kind: Kind, event: String, meta: String, payload: Bytes) -> Option<Fanout> {
    let user = |encoding, event, payload| Fanout::User {
        broadcast: UserBroadcast { event, encoding, payload },
        meta,
    };
    Some(match kind {
        Kind::Json => Fanout::Json { event: BROADCAST, payload },
        Kind::Raw => Fanout::Raw { event: BROADCAST, data: payload },
        Kind::UserJson => user(Encoding::Json, event, payload),
        Kind::UserBytes => user(Encoding::Binary, event, payload),
        Kind::Presence | Kind::Alive | Kind::Users | Kind::Status | Kind::Tenant => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{Handler, Metrics, interest::Times, memory::Exchange},
        hub::{
            Subscriber,
            outbox::{Item, Outbox},
        },
        protocol::Vsn,
        runtime::Drain,
        topic::Topic,
    };

    #[derive(Debug)]
    struct ToHub(Arc<Hub>);

    impl Handler for ToHub {
        fn receive(&self, envelope: Envelope) {
            self.0.receive(envelope);
        }
    }

    fn node(exchange: &Exchange, drain: &Drain) -> Arc<Hub> {
        let bus = exchange.node(Times::default(), Metrics::default());
        let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
        bus.start(Arc::new(ToHub(Arc::clone(&hub))), drain);
        hub
    }

    fn received(member: &Subscriber) -> Vec<Item> {
        let mut items = Vec::new();
        member.outbox.drain(&mut items);
        items
    }

    #[tokio::test(start_paused = true)]
    async fn every_kind_of_broadcast_looks_the_same_on_another_node() {
        let (exchange, drain) = (Exchange::default(), Drain::new());
        let (here, there) = (node(&exchange, &drain), node(&exchange, &drain));
        let payload = Bytes::from_static(br#"{"n":1}"#);
        let user = |encoding, meta: &str| Fanout::User {
            broadcast: UserBroadcast { event: "e".to_owned(), encoding, payload: payload.clone() },
            meta: meta.to_owned(),
        };
        let messages = [
            Fanout::Json { event: BROADCAST, payload: payload.clone() },
            Fanout::Raw { event: BROADCAST, data: payload.clone() },
            user(Encoding::Json, r#"{"id":"x"}"#),
            user(Encoding::Binary, ""),
        ];
        tokio::task::yield_now().await;
        for (vsn, name) in [(Vsn::V1, "a"), (Vsn::V2, "b")] {
            let topic = Topic::from_sub_topic(name).unwrap();
            let key = Key { tenant: Arc::from("t"), private: true, topic };
            let join = || Subscriber::new(vsn, Arc::new(Outbox::new(10_000)), Interest::ALL);
            let (sender, near, far) = (join(), join(), join());
            assert!(there.reach(&key).unwrap().wait().await);
            for (hub, member) in [(&here, &sender), (&here, &near), (&there, &far)] {
                hub.join(&key, member);
            }
            for message in &messages {
                assert!(here.broadcast(&key, message, Some(sender.id)).handed_on);
            }
            far.outbox.ready().await;
            let expected = received(&near);
            assert!(!expected.is_empty());
            assert_eq!(received(&far), expected);
            assert!(received(&sender).is_empty());
        }
    }

    #[test]
    fn a_node_alone_has_handed_everything_on() {
        let hub = Hub::new();
        let topic = Topic::from_sub_topic("a").unwrap();
        let key = Key { tenant: Arc::from("t"), private: false, topic };
        let message = Fanout::Json { event: BROADCAST, payload: Bytes::from_static(b"{}") };
        let spread = hub.broadcast(&key, &message, None);
        assert_eq!(spread, Spread { delivered: 0, handed_on: true });
        assert!(hub.reach(&key).is_none() && hub.is_connected());
    }
}
