//! PLACEHOLDER for the composition root: listens, and waits to be stopped.
//!
//! Only the shape matters to the command line; the real one replaces this file.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tokio::net::TcpListener;

use crate::config::Settings;

/// Tells that the server accepts connections.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Why the server could not run.
#[derive(Debug, Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Runs until `stop` completes, then drains.
///
/// # Errors
/// See [`AppError`].
pub async fn serve(
    settings: Settings,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let address = settings.listen.address;
    let listen = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    ready(Ready { address: listener.local_addr().map_err(listen)? });
    stop.await;
    Ok(())
}
