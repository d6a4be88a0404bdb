//! Fan-out: one message to everybody on a topic, encoded once per serializer.

use uuid::Uuid;

use crate::protocol::{
    Vsn,
    prepared::{Fanout, Frame},
};

use super::{ChannelId, Interest, Key, Subscriber, topics::Hub};

impl Hub {
    /// Sends `message` to the subscribers of a topic that want `interest`,
    /// except `skip`. Returns how many outboxes took it.
    pub fn publish(
        &self,
        key: &Key,
        message: &Fanout,
        interest: Interest,
        skip: Option<ChannelId>,
    ) -> u64 {
        self.send(key, message, interest, |member| Some(member.id) == skip)
    }

    /// Sends a message that was stored by a transaction to those that do not have
    /// it yet: it may have been replayed to them, or be their own. Returns as
    /// [`Hub::publish`] does.
    pub fn publish_stored(
        &self,
        key: &Key,
        message: &Fanout,
        interest: Interest,
        (id, xid): (Uuid, u32),
    ) -> u64 {
        self.send(key, message, interest, |member| !member.seen.take_live(id, Some(xid)))
    }

    /// The same for a message that goes by several ids: those who have any of
    /// them do not get it.
    pub fn publish_unless(
        &self,
        key: &Key,
        message: &Fanout,
        interest: Interest,
        ids: &[Uuid],
    ) -> u64 {
        // Each id is asked about, so that none is left for later.
        let has = |member: &Subscriber| {
            ids.iter().filter(|&&id| !member.seen.take_live(id, None)).count()
        };
        self.send(key, message, interest, |member| has(member) > 0)
    }

    /// `skip` is asked about each member that wants the message, once.
    fn send(
        &self,
        key: &Key,
        message: &Fanout,
        interest: Interest,
        skip: impl Fn(&Subscriber) -> bool,
    ) -> u64 {
        let Some(members) = self.members(key) else { return 0 };
        let mut frames = Encoded { message, topic: key.topic.as_str(), v1: None, v2: None };
        let mut delivered = 0;
        for member in members.read().iter() {
            if !member.interest().has(interest) || skip(member) {
                continue;
            }
            if let Some(frame) = frames.get(member.vsn) {
                delivered += u64::from(member.outbox.push(frame));
            }
        }
        delivered
    }

    /// Asks for every channel of a topic that wants `interest` to be shut down.
    pub fn shut_down(&self, key: &Key, interest: Interest, reason: &'static str) {
        let Some(members) = self.members(key) else { return };
        for member in members.read().iter() {
            if member.interest().has(interest) {
                member.outbox.shut_down(member.id, reason);
            }
        }
    }
}

/// The frames of one message, made when the first receiver of a version is met.
struct Encoded<'a> {
    message: &'a Fanout,
    topic: &'a str,
    v1: Option<Option<Frame>>,
    v2: Option<Option<Frame>>,
}

impl Encoded<'_> {
    fn get(&mut self, vsn: Vsn) -> Option<Frame> {
        let (message, topic) = (self.message, self.topic);
        let slot = match vsn {
            Vsn::V1 => &mut self.v1,
            Vsn::V2 => &mut self.v2,
        };
        slot.get_or_insert_with(|| message.encode(vsn, topic)).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        hub::{
            Subscriber,
            outbox::{Item, Outbox},
        },
        topic::Topic,
    };

    fn member(vsn: Vsn, interest: Interest) -> Arc<Subscriber> {
        Subscriber::new(vsn, Arc::new(Outbox::new(10_000)), interest)
    }

    #[test]
    fn a_stored_message_reaches_those_that_do_not_have_it() {
        let hub = Hub::new();
        let topic = Topic::from_sub_topic("a").unwrap();
        let key = Key { tenant: Arc::from("t"), private: true, topic };
        let (sender, other) = (member(Vsn::V2, Interest::ALL), member(Vsn::V2, Interest::ALL));
        hub.join(&key, &sender);
        hub.join(&key, &other);
        let id = Uuid::from_u128(7);
        sender.seen.will_store(id);
        let message = Fanout::Json { event: "broadcast", payload: Bytes::from_static(b"{}") };
        assert_eq!(hub.publish_stored(&key, &message, Interest::BROADCAST, (id, 1)), 1);
        assert_eq!((received(&sender).len(), received(&other).len()), (0, 1));
    }

    fn received(member: &Subscriber) -> Vec<Item> {
        let mut items = Vec::new();
        member.outbox.drain(&mut items);
        items
    }

    fn bytes(items: &[Item]) -> &Bytes {
        match items {
            [Item::Frame(Frame::Text(bytes))] => bytes,
            other => panic!("expected one text frame, got {other:?}"),
        }
    }

    #[test]
    fn receivers_of_one_version_share_the_bytes_and_the_sender_gets_none() {
        let hub = Hub::new();
        let topic = Topic::from_sub_topic("a").unwrap();
        let key = Key { tenant: Arc::from("t"), private: false, topic };
        let sender = member(Vsn::V2, Interest::ALL);
        let (one, two) = (member(Vsn::V2, Interest::ALL), member(Vsn::V2, Interest::ALL));
        let old = member(Vsn::V1, Interest::BROADCAST);
        let deaf = member(Vsn::V2, Interest::PRESENCE);
        for each in [&sender, &one, &two, &old, &deaf] {
            hub.join(&key, each);
        }
        let message = Fanout::Json { event: "broadcast", payload: Bytes::from_static(b"{}") };
        assert_eq!(hub.publish(&key, &message, Interest::BROADCAST, Some(sender.id)), 3);
        let (first, second) = (received(&one), received(&two));
        assert_eq!(bytes(&first).as_ptr(), bytes(&second).as_ptr(), "encoded once");
        assert!(bytes(&received(&old)).starts_with(b"{"));
        assert_eq!((received(&sender), received(&deaf)), (vec![], vec![]));
    }
}
