//! The settings of one tenant of many: the server's, with what its record says.

use ring::digest::{SHA256, digest};

use crate::{
    chat::Mode,
    config::{Settings, TenantSettings},
    tenants::Record,
};

/// PostgreSQL's longest name of a slot.
const LONGEST: usize = 63;

/// Most connections for the queries of one tenant, and for its row security,
/// unless its record says how many: there are many tenants, often in one
/// PostgreSQL.
const CONNECTIONS: usize = 3;

/// The settings of the tenant of `record`; none if it has no database.
pub(super) fn settings_of(server: &Settings, record: &Record) -> Option<Settings> {
    let extension = record.extension()?;
    let mut connect = extension.connect()?;
    connect.ssl_root_cert.clone_from(&server.database.connect.ssl_root_cert);
    let mut settings = server.clone();
    settings.control = None;
    settings.database.connect = connect;
    let size = server.database.pool_size.min(CONNECTIONS);
    settings.database.pool_size = extension.pool_size().unwrap_or(size);
    settings.tenant = TenantSettings {
        name: record.external_id.clone(),
        // Its keys come from the record.
        jwt_secret: None,
        jwt_jwks: None,
        jwks_url: None,
        ..server.tenant.clone()
    };
    let streams = &mut settings.replication;
    streams.slot_name = slot_name(&server.replication.slot_name, &record.external_id);
    extension.publication().clone_into(&mut streams.publication);
    streams.max_record_bytes = extension.max_record_bytes();
    streams.policy_connections = streams.policy_connections.min(CONNECTIONS);
    settings.chat_shards.clear();
    // A chat is what some of them may have.
    if settings.chat.mode == Mode::On {
        settings.chat.mode = Mode::Auto;
    }
    Some(settings)
}

/// A name that no other tenant's slot has: all databases of a PostgreSQL share them.
fn slot_name(usual: &str, tenant: &str) -> String {
    let digest = digest(&SHA256, tenant.as_bytes());
    let tail: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let head: String = usual.chars().take(LONGEST - 1 - tail.len()).collect();
    format!("{head}_{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_tenants_have_names_of_their_own() {
        let name = slot_name("rowcast_realtime_slot", "proj");
        assert_eq!(name, slot_name("rowcast_realtime_slot", "proj"));
        assert_ne!(name, slot_name("rowcast_realtime_slot", "proj2"));
        assert!(name.starts_with("rowcast_realtime_slot_"));
        assert_eq!(slot_name(&"x".repeat(63), "Ünï/cødé").len(), 63);
    }
}
