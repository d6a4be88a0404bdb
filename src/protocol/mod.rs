//! The wire: frames in, frames out. Pure; knows no sockets, tasks or clock.

pub mod prepared;

/// The serializer a socket speaks, chosen by `vsn` at the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vsn {
    /// `1.0.x`: JSON objects.
    V1,
    /// `2.0.x`: JSON arrays and binary frames.
    V2,
}
