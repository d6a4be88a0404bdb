//! Gives up what a stream leaves behind in a database that is served no more.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{config::Config, error::StreamError, prepare::startup, slot};
use crate::{
    error_code::ErrorCode,
    postgres::wire::{Connection, Mode},
};

/// PostgreSQL takes a moment to notice that the stream has ended.
const TRIES: u32 = 10;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);

/// All of it may take this long.
const LIMIT: Duration = Duration::from_secs(20);

/// Drops a stream's slot, so that it holds no log back, unless another server
/// streams from it. Says whether it is gone; why it is not is in the log.
pub async fn give_up(config: &Config) -> bool {
    let outcome = timeout(LIMIT, Box::pin(drop_idle(config))).await;
    let slot = &config.slot_name;
    match outcome {
        Ok(Ok(is_gone)) => is_gone,
        Ok(Err(error)) => {
            let error = error.reason();
            tracing::warn!(code = %ErrorCode::ReplicationSlotCheckSkipped, error, slot, tenant = config.tenant, "the slot cannot be dropped");
            false
        }
        Err(_) => {
            tracing::warn!(code = %ErrorCode::ReplicationSlotCheckSkipped, slot, tenant = config.tenant, "the slot cannot be dropped in time");
            false
        }
    }
}

async fn drop_idle(config: &Config) -> Result<bool, StreamError> {
    let mut connection =
        Connection::open(&config.connect, &startup(config, Mode::Replication)).await?;
    for _ in 0..TRIES {
        match slot::find(&mut connection, &config.slot_name).await? {
            None => return Ok(true),
            Some(found) if found.is_active => sleep(PAUSE).await,
            Some(_) => match slot::drop_slot(&mut connection, &config.slot_name).await {
                Ok(()) => return Ok(true),
                // Somebody has come between.
                Err(StreamError::SlotInUse { .. }) => {}
                Err(error) => return Err(error),
            },
        }
    }
    Ok(false)
}
