//! Who is joined here, and getting frames to them.

pub mod outbox;
