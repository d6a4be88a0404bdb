//! Settings: where they come from, what they may be, what is in force.
//!
//! Every setting is one entry of [`vars::KNOBS`]; the help text, the checks,
//! `rowcast config check` and `docs/operations.md` all come from that table.
//! Only [`mod@env`] reads the environment. Components never see this module: they
//! own plain configuration structs which the composition root fills from
//! [`Settings`].

mod cluster;
mod control;
mod database;
pub mod env;
mod error;
pub mod knob;
mod load;
mod network;
mod parse;
mod resolve;
mod settings;
pub mod tables;
pub mod vars;

pub use self::{
    error::ConfigError,
    resolve::{InForce, Origin, Overrides, Resolved},
    settings::{
        ChangeSettings, ClusterSettings, ControlSettings, DatabaseSettings, Guard, JanitorSettings,
        JwksUrl, Limits, ListenSettings, LogFormat, LogSettings, MessageSettings,
        ReplicationSettings, Settings, SocketSettings, TenantSettings,
    },
};
