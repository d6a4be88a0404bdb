//! Redis, through which several servers act as one.

use crate::{
    cli::doctor::report::Report,
    cluster::redis::{Look, Tls, look},
    config::ClusterSettings,
    telemetry,
};

pub(super) async fn check(settings: &ClusterSettings, report: &mut Report) {
    let Some(url) = &settings.redis_url else {
        report.checked("redis", "none: this server is alone");
        return;
    };
    let tls = Tls { ca: settings.redis_ca.clone(), own: settings.redis_certificate.clone() };
    let servers = match look(url.expose(), tls).await {
        Ok(servers) => servers,
        Err(error) => {
            let reason = telemetry::reason(&error);
            let what = format!(
                "Redis cannot be used ({reason}): clients of different servers do not hear each other, and changes wait in PostgreSQL."
            );
            report
                .error("redis_unreachable", what)
                .by("check ROWCAST_REDIS_URL, and that this machine may connect to what it names");
            return;
        }
    };
    for server in &servers {
        let Look { address, version, mode, .. } = server;
        report.checked("redis", format!("{address}, version {version}, {mode}"));
        examine(server, report);
    }
}

fn examine(server: &Look, report: &mut Report) {
    let Look { address, version, .. } = server;
    // Channels that belong to a slot came with 7.
    let oldest = if server.is_sharded() { 7 } else { 6 };
    if server.major().is_some_and(|major| major < oldest) {
        let what = format!(
            "Redis at {address} is version {version}, and Rowcast needs {oldest} or newer: servers do not hear each other."
        );
        report.error("redis_version", what).by("upgrade it");
    }
    if server.max_memory > 0 && server.policy != "noeviction" {
        let what = format!(
            "Redis at {address} throws keys away when its memory is full ({}): clients may miss changes, and are told of a gap.",
            server.policy
        );
        report
            .warning("redis_eviction", what)
            .by(format!("redis-cli -u redis://{address} config set maxmemory-policy noeviction"))
            .by("say the same in its redis.conf");
    }
    if server.max_memory > 0 && server.used_memory > server.max_memory / 10 * 9 {
        let what = format!(
            "Redis at {address} has used nine tenths of its memory: when it is full, changes wait until it is not."
        );
        report.warning("redis_memory", what).by("raise maxmemory, or lower ROWCAST_CHANGES_LOG_MB");
    }
}
