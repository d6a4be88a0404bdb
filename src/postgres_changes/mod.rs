//! Row changes to the channels that subscribed to them.

pub mod filter;
mod inspect;
pub mod subscription;
