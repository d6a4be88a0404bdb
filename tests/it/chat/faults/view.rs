//! What one client has of one room, as an SDK keeps it.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

/// What is compared of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub seq: i64,
    pub id: Uuid,
    pub version: i64,
    pub content: Option<String>,
}

impl Row {
    /// Of a message as JSON.
    pub fn of(json: &Value) -> Self {
        let number = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("{name}: {json}"));
        Self {
            seq: number("seq"),
            id: json["id"].as_str().unwrap().parse().unwrap(),
            version: number("version"),
            content: json["content"].as_str().map(str::to_owned),
        }
    }
}

/// One room. Nothing may come that a client would have to mend.
#[derive(Debug, Default)]
pub struct View {
    pub rows: BTreeMap<i64, Row>,
    /// Without a hole up to here.
    pub seq: i64,
    /// Every change up to here is known. Acknowledgements say nothing about
    /// others' changes before them, so only pushes and resuming move it.
    pub rev: i64,
    /// The `rev` of the last push on this socket.
    pushed: i64,
    /// Hears every change, being the sender of none.
    hears_all: bool,
}

impl View {
    pub fn new(hears_all: bool) -> Self {
        Self { hears_all, ..Self::default() }
    }

    /// A new socket: what comes on it has its own order.
    pub fn begins(&mut self) {
        self.pushed = 0;
    }

    /// What was missed. Returns how many messages were not known.
    pub fn resumed(&mut self, missed: &Value) -> u64 {
        assert_eq!(missed["limited"], false, "too much was missed");
        let messages = missed["messages"].as_array().unwrap();
        let new = messages.iter().filter(|message| self.put(Row::of(message))).count();
        assert_eq!(self.seq, missed["head"]["seq"].as_i64().unwrap(), "resuming left a hole");
        self.rev = missed["head"]["rev"].as_i64().unwrap();
        new as u64
    }

    /// What the sender was told of its own message.
    pub fn acknowledged(&mut self, row: Row) {
        self.put(row);
    }

    /// A push. Returns whether it said something new.
    pub fn pushed(&mut self, event: &str, message: &Value) -> bool {
        let (row, rev) = (Row::of(message), message["rev"].as_i64().unwrap());
        assert!(rev > self.pushed, "{event} {rev} came after {} on one socket", self.pushed);
        self.pushed = rev;
        if self.hears_all && rev > self.rev {
            assert_eq!(rev, self.rev + 1, "{event} {row:?}: a push before it did not come");
        }
        if event != "chat:message" {
            assert!(self.rows.contains_key(&row.seq), "{event} of an unknown message: {row:?}");
        }
        let is_new = rev > self.rev;
        self.rev = self.rev.max(rev);
        self.put(row);
        is_new
    }

    /// Returns whether the message was not known.
    fn put(&mut self, row: Row) -> bool {
        let seq = row.seq;
        let is_new = match self.rows.get_mut(&seq) {
            Some(known) => {
                assert_eq!(known.id, row.id, "two messages are number {seq}");
                if row.version > known.version {
                    *known = row;
                }
                false
            }
            None => self.rows.insert(seq, row).is_none(),
        };
        while self.rows.contains_key(&(self.seq + 1)) {
            self.seq += 1;
        }
        is_new
    }
}
