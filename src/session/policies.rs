//! Whom to ask what a caller may do on a private topic: the database of the
//! tenant, or for a room of a chat that is spread over shards, the room's shard.

use tokio::time::Instant;

use crate::{
    authorization::{AuthorizeError, Authorizer, Caller, Rights},
    chat::{Chat, ChatError},
    topic::Topic,
};

use super::TenantMetrics;

/// How often a room that moves is followed.
const ATTEMPTS: u32 = 50;

/// Asks the policies of private topics. Clones share it.
#[derive(Debug, Clone)]
pub struct Policies {
    tenant: Authorizer,
    shards: Vec<Authorizer>,
    chat: Chat,
    metrics: TenantMetrics,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    Read,
    Write,
}

impl Access {
    async fn ask(self, authorizer: &Authorizer, caller: Caller) -> Result<Rights, AuthorizeError> {
        match self {
            Self::Read => authorizer.read(caller).await,
            Self::Write => authorizer.write(caller).await,
        }
    }
}

impl Policies {
    /// Asks `tenant`, and about rooms these in the order of the shards.
    pub fn new(
        tenant: Authorizer,
        shards: Vec<Authorizer>,
        chat: Chat,
        metrics: TenantMetrics,
    ) -> Self {
        Self { tenant, shards, chat, metrics }
    }

    /// What a caller may receive on a topic.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError`]; treat it as a no.
    pub async fn read(&self, caller: Caller) -> Result<Rights, AuthorizeError> {
        self.ask(caller, Access::Read).await
    }

    /// What a caller may send to a topic.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError`]; treat it as a no.
    pub async fn write(&self, caller: Caller) -> Result<Rights, AuthorizeError> {
        self.ask(caller, Access::Write).await
    }

    async fn ask(&self, caller: Caller, access: Access) -> Result<Rights, AuthorizeError> {
        let begun = Instant::now();
        let rights = self.answer(caller, access).await;
        self.metrics.checked(access, begun.elapsed());
        rights
    }

    async fn answer(&self, caller: Caller, access: Access) -> Result<Rights, AuthorizeError> {
        let away = |_: ChatError| AuthorizeError::Unavailable;
        let room = Topic::from_sub_topic(&caller.topic).ok().and_then(|topic| topic.room());
        for _ in 0..ATTEMPTS {
            let Some((room, shard)) = room.and_then(|room| Some((room, self.chat.shard_of(room)?)))
            else {
                return access.ask(&self.tenant, caller).await;
            };
            let shard = shard.map_err(away)?;
            let authorizer = self.shards.get(shard).ok_or(AuthorizeError::Unavailable)?;
            let rights = access.ask(authorizer, caller.clone()).await?;
            // Members of a room that has moved on are not to be believed.
            if Box::pin(self.chat.is_still_in(room, shard)).await.map_err(away)? {
                return Ok(rights);
            }
        }
        Err(AuthorizeError::Unavailable)
    }
}
