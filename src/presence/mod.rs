//! Presence: who is on a topic, and who came and went.
//!
//! [`state`] is the pure part; [`tracker`] keeps one state per topic and tells
//! the topic's subscribers about changes.

pub mod state;
pub mod tracker;

pub use self::tracker::{Tracked, Tracker};
