//! Rows of the chat's tables as the log shows them, read as pushes. Pure.
//!
//! What is said is what the row holds after the change; of the old row only
//! what its replica identity keeps, which is never what somebody wrote.

use std::str;

use uuid::Uuid;

use crate::{
    postgres::value::{TypeShape, write_json, write_string},
    replication::{
        change::{Change, Old, Operation, Tuple, Value},
        relation::Relation,
    },
};

use super::push::{self, Push};

/// What a change of a row means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Something to say.
    Push(Push),
    /// A member went: its channels are cut, then the others are told.
    Left { user: Uuid, push: Push },
    /// A member's cursors moved.
    Receipt(Push),
    /// A public room became private: who is no member is cut.
    Closed(Uuid),
    /// A table was emptied: it is not known what happened to whom.
    Emptied,
    /// A message whose content is not in the log. It is to be read with
    /// `content` from the table.
    Incomplete { room: Uuid, message: Uuid, version: i64 },
}

/// What a change means; `None` if it is nobody's business. `content` is JSON
/// text in the place of a content that the log does not have.
pub(super) fn read(change: &Change, content: Option<&str>) -> Option<Meaning> {
    let relation = &*change.relation;
    match (&*relation.schema, &*relation.table, &change.operation) {
        ("public", "messages" | "room_members" | "message_reactions", Operation::Truncate) => {
            Some(Meaning::Emptied)
        }
        ("public", "messages", operation) => message(relation, operation, content),
        ("public", "room_members", operation) => member(relation, operation),
        ("public", "message_reactions", operation) => {
            reaction(relation, operation).map(Meaning::Push)
        }
        ("chat", "closings", Operation::Insert { new }) => {
            Row { relation, tuple: new }.uuid("room_id").map(Meaning::Closed)
        }
        _ => None,
    }
}

/// Whether a change says that its transaction moves rooms from shard to shard.
pub(super) fn is_move(change: &Change) -> bool {
    &*change.relation.schema == "chat" && &*change.relation.table == "moves"
}

/// The columns of a message, in the order in which clients see them.
const MESSAGE: [&str; 11] = [
    "id",
    "room_id",
    "seq",
    "rev",
    "version",
    "sender_id",
    "content",
    "reply_to",
    "created_at",
    "edited_at",
    "deleted_at",
];

fn message(relation: &Relation, operation: &Operation, content: Option<&str>) -> Option<Meaning> {
    let (new, is_new) = match operation {
        Operation::Insert { new } => (new, true),
        Operation::Update { new, .. } => (new, false),
        Operation::Delete { old } => return gone(relation, old.tuple()).map(Meaning::Push),
        Operation::Truncate => return None,
    };
    let row = Row { relation, tuple: new };
    let (id, room, version) = (row.uuid("id")?, row.uuid("room_id")?, row.number("version")?);
    let is_deleted = row.text("deleted_at").is_some();
    let mut out = br#"{"message":{"#.to_vec();
    for (at, name) in MESSAGE.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match (name, row.value(name), content) {
            ("content", Value::Unchanged, None) => {
                return Some(Meaning::Incomplete { room, message: id, version });
            }
            ("content", Value::Unchanged, Some(content)) => {
                out.extend_from_slice(br#""content":"#);
                out.extend_from_slice(content.as_bytes());
            }
            _ => row.write(name, name, &mut out),
        }
    }
    out.extend_from_slice(b"}}");
    let (event, own) = match (is_deleted, is_new) {
        (true, _) => ("chat:message_deleted", Some(push::deleted(id))),
        (false, true) => {
            let sender = row.uuid("sender_id");
            ("chat:message", sender.map(|sender| push::inserted(id, sender)))
        }
        (false, false) => {
            let content = row.text("content");
            ("chat:message_updated", content.map(|text| push::updated(id, version, text)))
        }
    };
    Some(Meaning::Push(Push::new(room, event, out).with(own)))
}

/// A message that was removed from the table.
fn gone(relation: &Relation, old: &Tuple) -> Option<Push> {
    let row = Row { relation, tuple: old };
    let room = row.uuid("room_id")?;
    let mut out = br#"{"message":{"#.to_vec();
    row.write("id", "id", &mut out);
    out.push(b',');
    row.write("room_id", "room_id", &mut out);
    out.push(b',');
    row.write("seq", "seq", &mut out);
    out.extend_from_slice(b"}}");
    Some(Push::new(room, "chat:message_deleted", out))
}

fn member(relation: &Relation, operation: &Operation) -> Option<Meaning> {
    let says = |row: &Row<'_>, change: &str| {
        let mut out = b"{".to_vec();
        row.write("user_id", "user_id", &mut out);
        for name in ["name", "role"] {
            out.push(b',');
            row.write(name, name, &mut out);
        }
        out.extend_from_slice(br#","change":"#);
        write_string(change.as_bytes(), &mut out);
        out.push(b'}');
        Some(Push::new(row.uuid("room_id")?, "chat:member", out))
    };
    match operation {
        Operation::Insert { new } => {
            says(&Row { relation, tuple: new }, "joined").map(Meaning::Push)
        }
        Operation::Delete { old } => {
            let row = Row { relation, tuple: old.tuple() };
            let (room, user) = (row.uuid("room_id")?, row.uuid("user_id")?);
            let payload = format!(r#"{{"user_id":"{user}","change":"left"}}"#);
            Some(Meaning::Left { user, push: Push::new(room, "chat:member", payload) })
        }
        Operation::Update { old, new } => {
            let row = Row { relation, tuple: new };
            let before = match old {
                Some(Old::Full(old)) => Row { relation, tuple: old },
                _ => return None,
            };
            let differs = |name| row.value(name) != before.value(name);
            if differs("name") || differs("role") {
                // Cursors that moved too are told with the next receipt.
                return says(&row, "updated").map(Meaning::Push);
            }
            let moved = [differs("last_delivered_seq"), differs("last_read_seq")];
            match moved {
                [false, false] => None,
                moved => receipt(&row, moved).map(Meaning::Receipt),
            }
        }
        Operation::Truncate => None,
    }
}

/// `moved` tells of the cursors, delivered and read, whether they did.
fn receipt(row: &Row<'_>, moved: [bool; 2]) -> Option<Push> {
    let (room, user) = (row.uuid("room_id")?, row.uuid("user_id")?);
    let (delivered, read) = (row.number("last_delivered_seq")?, row.number("last_read_seq")?);
    let payload =
        format!(r#"{{"user_id":"{user}","delivered_seq":{delivered},"read_seq":{read}}}"#);
    let ids = [push::delivered(room, user, delivered), push::read(room, user, read)];
    // A cursor that stood there already was moved by somebody else.
    let ids = ids.into_iter().zip(moved).filter_map(|(id, moved)| moved.then_some(id));
    Some(Push::new(room, "chat:receipt", payload).with(ids))
}

fn reaction(relation: &Relation, operation: &Operation) -> Option<Push> {
    let (tuple, added) = match operation {
        Operation::Insert { new } => (new, true),
        Operation::Delete { old } => (old.tuple(), false),
        Operation::Update { .. } | Operation::Truncate => return None,
    };
    let row = Row { relation, tuple };
    let (room, user) = (row.uuid("room_id")?, row.uuid("user_id")?);
    let (id, emoji) = (row.uuid("message_id")?, row.text("emoji")?);
    let mut out = format!(r#"{{"message_id":"{id}","user_id":"{user}","emoji":"#).into_bytes();
    write_string(emoji.as_bytes(), &mut out);
    out.extend_from_slice(format!(r#","added":{added}}}"#).as_bytes());
    let own = push::reaction(id, user, emoji, added);
    Some(Push::new(room, "chat:reaction", out).with([own]))
}

/// One image of a row, its columns by name.
struct Row<'a> {
    relation: &'a Relation,
    tuple: &'a Tuple,
}

impl<'a> Row<'a> {
    fn place(&self, name: &str) -> Option<usize> {
        self.relation.columns.iter().position(|column| &*column.name == name)
    }

    fn value(&self, name: &str) -> Value<'a> {
        self.place(name).map_or(Value::Null, |at| self.tuple.value(at))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name) {
            Value::Text(text) => str::from_utf8(text).ok(),
            Value::Null | Value::Unchanged => None,
        }
    }

    fn uuid(&self, name: &str) -> Option<Uuid> {
        Uuid::parse_str(self.text(name)?).ok()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Appends `"member":value`.
    fn write(&self, member: &str, name: &str, out: &mut Vec<u8>) {
        write_string(member.as_bytes(), out);
        out.push(b':');
        let column = self.place(name).and_then(|at| self.relation.columns.get(at));
        match (self.value(name), column) {
            (Value::Text(text), Some(column)) => {
                let shape = TypeShape::of_builtin(column.type_oid).unwrap_or(TypeShape::Text);
                write_json(&shape, text, out);
            }
            _ => out.extend_from_slice(b"null"),
        }
    }
}
