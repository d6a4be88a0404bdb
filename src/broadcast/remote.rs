//! Broadcasts of other nodes.
//!
//! They were checked and counted where they came in; here each receiver counts.

use std::sync::Arc;

use crate::{
    cluster::{Envelope, Handler},
    hub::topics::Hub,
    tenants::Tenant,
};

/// Hands on what other nodes broadcast within one tenant.
#[derive(Debug)]
pub struct Remote {
    tenant: Arc<Tenant>,
    hub: Arc<Hub>,
}

impl Remote {
    /// Broadcasts within `tenant`.
    pub fn new(tenant: Arc<Tenant>, hub: Arc<Hub>) -> Self {
        Self { tenant, hub }
    }
}

impl Handler for Remote {
    fn receive(&self, envelope: Envelope) {
        if envelope.key.tenant == self.tenant.name {
            self.tenant.meters.events.record(self.hub.receive(envelope));
        }
    }
}
