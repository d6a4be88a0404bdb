//! The chat's bounds.

use std::time::Duration;

/// Whether there is to be a chat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Where the database has its tables.
    #[default]
    Auto,
    /// Yes: a database without them is a fault.
    On,
    /// No.
    Off,
}

/// Times and sizes.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Whether there is to be a chat.
    pub mode: Mode,
    /// Characters of a message.
    pub message_characters: usize,
    /// Members of a room up to which each message's receipts are kept, and
    /// channels joined on this server up to which receipts are pushed.
    pub receipts_room_size: u32,
    /// How long receipts of one member in one room are gathered.
    pub receipts_window: Duration,
    /// Members whose receipts are gathered at a time.
    pub max_receipts: usize,
    /// Members who type at a time.
    pub max_typing: usize,
    /// How long a server may be silent until its users are offline. It gives
    /// three signs of life in that time, and `last_seen` moves with them.
    pub status_ttl: Duration,
    /// Users whose status is remembered, on whichever server they are.
    pub max_statuses: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            message_characters: 10_000,
            receipts_room_size: 100,
            receipts_window: Duration::from_millis(500),
            max_receipts: 10_000,
            max_typing: 10_000,
            status_ttl: Duration::from_secs(15),
            max_statuses: 100_000,
        }
    }
}
