//! Presence: who is on a topic, and who came and went.
//!
//! [`state`] is the pure part, `merge` what other nodes add to it; [`tracker`]
//! keeps one state per topic and tells the topic's subscribers about changes.
//!
//! Each node speaks for its own channels and keeps what others say about theirs,
//! for the topics that it has subscribers of. `nodes` sees to it that what was
//! lost on the way is mended and that a dead node's channels leave.

mod gather;
mod merge;
mod nodes;
pub mod state;
pub mod tracker;
mod word;

pub use self::tracker::{Tracked, Tracker};
