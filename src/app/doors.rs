//! The ports: that of clients, and one for operators where they have their own.

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use tokio::net::TcpListener;

use super::{AppError, Ready};
use crate::{
    config::ListenSettings,
    http::{
        self, State, listener,
        metrics::DoorMetrics,
        tls::{Files, Tls},
    },
    runtime::Stages,
};

/// Ports that are open and not served yet.
pub(super) struct Doors {
    clients: Door,
    operators: Option<Door>,
    tls: Option<Tls>,
}

struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    async fn open(address: SocketAddr) -> Result<Self, AppError> {
        let fault = |source| AppError::Listen { address, source };
        let listener = listener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, address })
    }

    fn serve(self, router: Router, config: listener::Config, stages: &Stages) {
        let serving = listener::serve(self.listener, router, config, stages.clone());
        stages.doors.spawn("listener", serving);
    }
}

impl Doors {
    pub(super) async fn open(settings: &ListenSettings) -> Result<Self, AppError> {
        let tls = match settings.tls.clone() {
            Some((certificate, key)) => Some(Tls::read(Files { certificate, key }).await?),
            None => None,
        };
        let clients = Door::open(settings.address).await?;
        let operators = match settings.admin {
            Some(address) => Some(Door::open(address).await?),
            None => None,
        };
        Ok(Self { clients, operators, tls })
    }

    pub(super) fn serve(
        self,
        settings: &ListenSettings,
        state: Arc<State>,
        metrics: DoorMetrics,
        stages: &Stages,
    ) -> Ready {
        if let Some(tls) = self.tls.clone() {
            stages.doors.spawn("certificate", tls.watch(stages.doors.clone()));
        }
        let config = listener::Config {
            max_connections: settings.max_connections,
            max_header_bytes: settings.max_header_bytes,
            handshake_timeout: settings.handshake_timeout,
            body_timeout: settings.body_timeout,
            tls: self.tls,
            metrics,
        };
        let address = self.clients.address;
        let admin = self.operators.as_ref().map(|door| door.address);
        match self.operators {
            Some(door) => {
                let [clients, operators] = http::routers(state);
                self.clients.serve(clients, config.clone(), stages);
                // Not counted: what is told is how full the port of clients is.
                let metrics = DoorMetrics::default();
                door.serve(operators, listener::Config { metrics, ..config }, stages);
            }
            None => self.clients.serve(http::router(state), config, stages),
        }
        Ready { address, admin }
    }
}
