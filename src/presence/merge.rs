//! What other nodes say, merged into the state of a topic. Pure.
//!
//! Each node is right about its own channels. So there are no conflicts: a
//! node's last word about a channel counts, and its words come in order.

use std::collections::HashSet;

use crate::cluster::NodeId;

use super::{
    state::{Diff, Entry, Member, Meta, State},
    word::{Digest, Tracked},
};

impl State {
    /// What this node's channels track.
    pub(super) fn own(&self) -> Vec<Tracked> {
        let own = self.entries.iter().filter(|(member, _)| member.node.is_none());
        own.map(|(member, entry)| entry.tracked(member.channel)).collect()
    }

    /// What one of this node's channels tracks.
    pub(super) fn one(&self, member: Member) -> Option<Tracked> {
        self.entries.get(&member).map(|entry| entry.tracked(member.channel))
    }

    /// In short what a node's channels track; this node is `None`.
    pub(super) fn digest(&self, node: Option<NodeId>) -> Digest {
        let mut digest = Digest::default();
        for (member, entry) in &self.entries {
            if member.node == node {
                digest.add(member.channel, &entry.reference);
            }
        }
        digest
    }

    /// A node's channel tracks this. `None` if that is known.
    pub(super) fn hear(&mut self, node: NodeId, tracked: Tracked) -> Option<Diff> {
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        self.put(node, tracked, &mut joins, &mut leaves);
        self.diff(&joins, &leaves)
    }

    /// A node's channel tracks nothing any more. `None` if that is known.
    pub(super) fn hear_end(&mut self, node: NodeId, channel: u64) -> Option<Diff> {
        let old = self.entries.remove(&Member { node: Some(node), channel })?;
        self.diff(&[], &[old])
    }

    /// A node's channels track this and nothing else. `None` if that is known.
    pub(super) fn hear_all(&mut self, node: NodeId, all: Vec<Tracked>) -> Option<Diff> {
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        let present: HashSet<u64> = all.iter().map(|tracked| tracked.channel).collect();
        self.drop_if(&mut leaves, |member| {
            member.node == Some(node) && !present.contains(&member.channel)
        });
        for tracked in all {
            self.put(node, tracked, &mut joins, &mut leaves);
        }
        self.diff(&joins, &leaves)
    }

    /// A node is gone. `None` if nobody of it was present.
    pub(super) fn forget_node(&mut self, node: NodeId) -> Option<Diff> {
        self.hear_all(node, Vec::new())
    }

    /// All other nodes' channels are of no interest any more.
    pub(super) fn forget_others(&mut self) {
        self.entries.retain(|member, _| member.node.is_none());
    }

    fn put(
        &mut self,
        node: NodeId,
        tracked: Tracked,
        joins: &mut Vec<Member>,
        leaves: &mut Vec<Entry>,
    ) {
        let member = Member { node: Some(node), channel: tracked.channel };
        if self.entries.get(&member).is_some_and(|entry| entry.reference == tracked.reference) {
            return;
        }
        let Tracked { key, reference, previous, meta, .. } = tracked;
        let entry = Entry { key, reference, previous, meta: Meta(meta) };
        leaves.extend(self.entries.insert(member, entry));
        joins.push(member);
    }

    fn drop_if(&mut self, leaves: &mut Vec<Entry>, gone: impl Fn(&Member) -> bool) {
        let members: Vec<Member> =
            self.entries.keys().filter(|member| gone(member)).copied().collect();
        leaves.extend(members.iter().filter_map(|member| self.entries.remove(member)));
    }

    fn diff(&self, joins: &[Member], leaves: &[Entry]) -> Option<Diff> {
        let joins: Vec<&Entry> =
            joins.iter().filter_map(|member| self.entries.get(member)).collect();
        let is_empty = joins.is_empty() && leaves.is_empty();
        (!is_empty).then(|| Diff::of(&joins, &leaves.iter().collect::<Vec<_>>()))
    }
}

impl Entry {
    fn tracked(&self, channel: u64) -> Tracked {
        Tracked {
            channel,
            key: self.key.clone(),
            reference: self.reference.clone(),
            previous: self.previous.clone(),
            meta: self.meta.0.clone(),
        }
    }
}
