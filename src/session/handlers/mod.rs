//! What a joined channel does with a message: one file per feature.

pub mod access_token;
pub mod broadcast;
pub mod chat;
pub mod database;
pub mod postgres_changes;
pub mod presence;
