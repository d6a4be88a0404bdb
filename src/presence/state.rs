//! Who is present on one topic. Pure: no clock, no IO.
//!
//! Every channel, of this node or another, has at most one entry, under a key that it chose when it
//! joined. Several channels may share a key. An entry carries a reference that
//! changes with each update, so that clients can tell the old from the new.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{cluster::NodeId, hub::ChannelId, protocol::write_string};

/// What a client tracks: an object, member by member, without the server's own.
#[derive(Debug, Clone, Default)]
pub struct Meta(pub(super) BTreeMap<String, Box<RawValue>>);

/// The entries of one topic.
#[derive(Debug, Default)]
pub struct State {
    pub(super) entries: BTreeMap<Member, Entry>,
}

/// A channel as all nodes know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    /// `None` for this node.
    pub(super) node: Option<NodeId>,
    pub(super) channel: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) reference: String,
    pub(super) previous: Option<String>,
    pub(super) meta: Meta,
}

impl From<ChannelId> for Member {
    fn from(channel: ChannelId) -> Self {
        Self { node: None, channel: channel.0 }
    }
}

/// What changed, as JSON text of `presence_diff`'s payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff(pub Vec<u8>);

impl Meta {
    /// Reads a tracked payload. `None` if it is not an object.
    pub fn parse(json: &[u8]) -> Option<Self> {
        if json.first() != Some(&b'{') {
            return None;
        }
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json).ok()?;
        // References are the server's to give: a client's would pass for another's entry.
        members.remove("phx_ref");
        members.remove("phx_ref_prev");
        Some(Self(members))
    }
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| a.0 == b.0 && a.1.get() == b.1.get())
    }
}

impl State {
    /// Tracks or updates a channel's entry. `None` if nothing changed.
    pub fn track(
        &mut self,
        channel: ChannelId,
        key: &str,
        reference: String,
        meta: Meta,
    ) -> Option<Diff> {
        let member = Member::from(channel);
        let old = self.entries.get(&member);
        if old.is_some_and(|entry| entry.meta == meta) {
            return None;
        }
        let previous = old.map(|entry| entry.reference.clone());
        let entry = Entry { key: key.to_owned(), reference, previous, meta };
        let old = self.entries.insert(member, entry);
        let new: Vec<&Entry> = self.entries.get(&member).into_iter().collect();
        Some(Diff::of(&new, &old.iter().collect::<Vec<_>>()))
    }

    /// Removes a channel's entry. `None` if it had none.
    pub fn untrack(&mut self, channel: ChannelId) -> Option<Diff> {
        let old = self.entries.remove(&channel.into())?;
        Some(Diff::of(&[], &[&old]))
    }

    /// True if nobody is present.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// JSON text of `presence_state`'s payload.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_entries(&mut out, self.entries.values());
        out
    }
}

impl Diff {
    pub(super) fn of(joins: &[&Entry], leaves: &[&Entry]) -> Self {
        let mut out = br#"{"joins":"#.to_vec();
        write_entries(&mut out, joins.iter().copied());
        out.extend_from_slice(br#","leaves":"#);
        write_entries(&mut out, leaves.iter().copied());
        out.push(b'}');
        Self(out)
    }
}

/// An object of all keys and what is tracked under each.
fn write_entries<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = &'a Entry>) {
    let mut keys: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        keys.entry(&entry.key).or_default().push(entry);
    }
    out.push(b'{');
    for (i, (key, entries)) in keys.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_key(out, key, &entries);
    }
    out.push(b'}');
}

/// `"key":{"metas":[…]}`
fn write_key(out: &mut Vec<u8>, key: &str, entries: &[&Entry]) {
    write_string(out, key);
    out.extend_from_slice(br#":{"metas":["#);
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(br#"{"phx_ref":"#);
        write_string(out, &entry.reference);
        if let Some(previous) = &entry.previous {
            out.extend_from_slice(br#","phx_ref_prev":"#);
            write_string(out, previous);
        }
        for (name, value) in &entry.meta.0 {
            out.push(b',');
            write_string(out, name);
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: ChannelId = ChannelId(1);
    const TWO: ChannelId = ChannelId(2);

    fn meta(json: &str) -> Meta {
        Meta::parse(json.as_bytes()).unwrap()
    }

    fn text(diff: Option<Diff>) -> String {
        String::from_utf8(diff.unwrap().0).unwrap()
    }

    #[test]
    fn a_track_joins_an_update_replaces_and_an_untrack_leaves() {
        let mut state = State::default();
        let diff = state.track(ONE, "ann", "r1".to_owned(), meta(r#"{"n":1.50}"#));
        assert_eq!(
            text(diff),
            r#"{"joins":{"ann":{"metas":[{"phx_ref":"r1","n":1.50}]}},"leaves":{}}"#
        );
        assert_eq!(state.track(ONE, "ann", "r2".to_owned(), meta(r#"{"n": 1.50}"#)), None);
        let diff = state.track(ONE, "ann", "r3".to_owned(), meta(r#"{"n":2}"#));
        assert_eq!(
            text(diff),
            r#"{"joins":{"ann":{"metas":[{"phx_ref":"r3","phx_ref_prev":"r1","n":2}]}},"leaves":{"ann":{"metas":[{"phx_ref":"r1","n":1.50}]}}}"#
        );
        assert_eq!(
            text(state.untrack(ONE)),
            r#"{"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"r3","phx_ref_prev":"r1","n":2}]}}}"#
        );
        assert_eq!(state.untrack(ONE), None);
        assert!(state.is_empty());
    }

    #[test]
    fn channels_with_one_key_have_a_meta_each() {
        let mut state = State::default();
        state.track(ONE, "ann", "r1".to_owned(), meta("{}"));
        state.track(TWO, "ann", "r2".to_owned(), meta(r#"{"d":"x"}"#));
        assert_eq!(
            String::from_utf8(state.render()).unwrap(),
            r#"{"ann":{"metas":[{"phx_ref":"r1"},{"phx_ref":"r2","d":"x"}]}}"#
        );
    }

    #[test]
    fn a_client_cannot_choose_references() {
        let forged = meta(r#"{"phx_ref":"r9","phx\u005fref_prev":"r8","n":1}"#);
        assert_eq!(forged, meta(r#"{"n":1}"#));
        assert!(Meta::parse(b"[1]").is_none() && Meta::parse(b"\"x\"").is_none());
    }

    proptest! {
        /// A client that applies every diff to the state it started from ends
        /// with the state the server has.
        #[test]
        fn diffs_add_up_to_the_state(steps in prop::collection::vec((0u64..4, 0u8..4), 0..40)) {
            let mut state = State::default();
            let mut seen: BTreeMap<String, serde_json::Value> = BTreeMap::new();
            for (i, (channel, action)) in steps.into_iter().enumerate() {
                let id = ChannelId(channel);
                let diff = match action {
                    0 => state.untrack(id),
                    n => state.track(id, &format!("k{}", channel % 2), format!("r{i}"), meta(&format!("{{\"n\":{n}}}"))),
                };
                let Some(diff) = diff else { continue };
                let diff: serde_json::Value = serde_json::from_slice(&diff.0).unwrap();
                for meta in metas(&diff["leaves"]) { seen.remove(meta["phx_ref"].as_str().unwrap()); }
                for meta in metas(&diff["joins"]) { seen.insert(meta["phx_ref"].as_str().unwrap().to_owned(), meta); }
            }
            let full: serde_json::Value = serde_json::from_slice(&state.render()).unwrap();
            let full: BTreeMap<String, serde_json::Value> =
                metas(&full).into_iter().map(|m| (m["phx_ref"].as_str().unwrap().to_owned(), m)).collect();
            prop_assert_eq!(seen, full);
        }
    }

    fn metas(side: &serde_json::Value) -> Vec<serde_json::Value> {
        let keys = side.as_object().unwrap().values();
        keys.flat_map(|key| key["metas"].as_array().unwrap().clone()).collect()
    }
}
