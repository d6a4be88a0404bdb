//! Stub until the engine arrives.
#![allow(missing_docs, clippy::all)]
use std::sync::Arc;

use crate::{auth::Claims, hub::outbox::Outbox, protocol::Vsn, topic::Topic};
pub mod subscription {
    #[derive(Debug)]
    pub struct Binding;
    impl Binding {
        pub fn parse(_: &str) -> Result<Self, String> {
            Ok(Self)
        }
    }
    pub fn legacy_item(_: &str) -> String {
        "{}".to_owned()
    }
    pub fn reply_entries<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
        format!(
            "[{}]",
            items
                .into_iter()
                .map(|i| format!("{},\"id\":1}}", i.strip_suffix('}').unwrap_or(i)))
                .collect::<Vec<_>>()
                .join(",")
        )
    }
}
#[derive(Debug)]
pub struct PostgresChanges;
#[derive(Debug)]
pub struct Registration;
#[derive(Debug)]
pub struct SubscribeError {
    pub message: String,
    pub retry: bool,
}
pub struct Subscribe {
    pub topic: Topic,
    pub vsn: Vsn,
    pub legacy: bool,
    pub bindings: Arc<[subscription::Binding]>,
    pub claims: Claims,
    pub outbox: Arc<Outbox>,
}
impl PostgresChanges {
    pub async fn subscribe(&self, _: Subscribe) -> Result<Registration, SubscribeError> {
        Ok(Registration)
    }
}
