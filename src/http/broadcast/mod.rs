//! Broadcasts over HTTP: for servers, and for clients that have not joined.
//!
//! [`batch`] takes many messages and skips what the caller may not send;
//! [`single`] takes one and says what became of it. Both check the token before
//! they read a body, and both end in [`Broadcasts::publish`](crate::broadcast::Broadcasts::publish).

pub mod batch;
mod cast;
pub mod rejected;
pub mod single;

use std::sync::Arc;

use axum::{extract::Request, http::request::Parts};
use bytes::Bytes;

use crate::{
    auth::Claims,
    authorization::{AuthorizeError, Caller, Rights},
    broadcast::Message,
    hub::Key,
    secret::Secret,
    session::Services,
    topic::Topic,
};

use self::rejected::Rejected;
use super::{
    auth::{self, as_object},
    body,
};

/// A request whose caller is known.
struct Call {
    claims: Claims,
    head: Parts,
    body: Bytes,
}

impl Call {
    async fn open(services: &Services, request: Request, limit: usize) -> Result<Self, Rejected> {
        let (head, body) = request.into_parts();
        let claims = auth::authenticate(&services.tenant, &head.headers, &head.uri).await?;
        if services.tenant.terms().suspended {
            return Err(Rejected::Suspended);
        }
        let body = body::read(body, limit).await?;
        Ok(Self { claims, head, body })
    }

    /// What the policies let the caller send to private topics, in their order.
    async fn rights(
        &self,
        services: &Services,
        topics: &[Topic],
    ) -> Vec<Result<Rights, AuthorizeError>> {
        let headers = Secret::new(as_object(&self.head.headers));
        let questions = topics.iter().map(|topic| {
            services.policies.write(Caller {
                topic: topic.sub_topic().into(),
                claims: self.claims.clone(),
                headers: headers.clone(),
            })
        });
        let answers = futures_util::future::join_all(questions).await;
        if answers.contains(&Err(AuthorizeError::MissingPartition)) {
            services.messages.janitor.partition_is_missing();
        }
        answers
    }
}

/// Sends a message that has passed every check.
fn send(services: &Services, private: bool, topic: Topic, message: Message) {
    let key = Key { tenant: Arc::clone(&services.tenant.name), private, topic };
    let bytes = message.bytes();
    match services.broadcasts.publish(&key, message, None) {
        Ok(spread) => {
            services.metrics.broadcasts.observe(bytes);
            services.metrics.events.inc_by(1 + spread.delivered);
        }
        // The limit was lowered a moment ago.
        Err(error) => tracing::debug!(%error, "broadcast not sent"),
    }
}
