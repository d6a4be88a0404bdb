//! What logical replication says: the replication frames and pgoutput inside.
//!
//! Pure: bytes in, values out. Nothing here allocates by a length it was only
//! told, and no input can panic it.

mod decode;
mod frame;
mod message;

pub use self::{
    decode::decode,
    frame::{Frame, StatusUpdate, unix_micros},
    message::{
        Begin, Cell, Column, Commit, DecodeError, Identity, LogicalMessage, Message, OldTuple,
        Origin, Relation, Row, Truncate, Type,
    },
};
