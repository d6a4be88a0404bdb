//! TLS to Redis, with an authority of one's own and a password.

use rowcast::{
    cluster::{
        Metrics,
        redis::{Config, Redis, Tls},
    },
    telemetry::reason,
};

use super::{
    conformance::{Place, conforms, connect, hasty},
    ready,
};
use crate::support::{
    eventually,
    redis::tls::Certificates,
    server::{Server, World},
};

fn with(tls: Tls) -> Config {
    Config { tls, ..hasty() }
}

#[tokio::test]
async fn the_bus_through_redis_with_tls_conforms() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--tls-auth-clients", "no", "--requirepass", "secret"]).await;
    let url = format!("rediss://default:secret@{}", server.address());
    let tls = Tls { ca: Some(certificates.file("ca.crt")), own: None };
    conforms(Place::Redis { url, tls, servers: vec![server] }).await;
}

#[tokio::test]
async fn a_redis_that_asks_for_a_certificate_gets_it() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--tls-auth-clients", "yes"]).await;
    let url = format!("rediss://{}", server.address());
    let ca = Some(certificates.file("ca.crt"));
    let own = Some((certificates.file("client.crt"), certificates.file("client.key")));
    connect(&url, with(Tls { ca: ca.clone(), own })).up(true).await;
    let stranger = connect(&url, with(Tls { ca, own: None }));
    eventually("somebody without one is refused", async || {
        let stats = server.dir().join("log");
        let log = std::fs::read_to_string(stats).unwrap();
        log.contains("peer did not return a certificate").then_some(())
    })
    .await;
    assert!(!stranger.bus.interest().is_up());
}

#[tokio::test]
async fn a_server_that_may_not_come_in_goes_on_alone_and_says_why() {
    let certificates = Certificates::new();
    let redis = certificates.serve(&["--tls-auth-clients", "no", "--requirepass", "secret"]).await;
    let url = |password: &str| format!("rediss://default:{password}@{}", redis.address());
    let file = |name: &str| certificates.file(name).to_str().unwrap().to_owned();
    let (right, wrong) = (url("secret"), url("hunter2"));
    let (ca, stranger) = (file("ca.crt"), file("stranger.crt"));
    let settings = [("ROWCAST_REDIS_URL", &*right), ("ROWCAST_REDIS_CA_FILE", &*ca)];
    let world = World::start_with("", &settings).await;
    ready(&world.server, 200).await;
    for (url, ca, said) in [(&right, &stranger, "UnknownIssuer"), (&wrong, &ca, "WRONGPASS")] {
        let settings = [("ROWCAST_REDIS_URL", &**url), ("ROWCAST_REDIS_CA_FILE", &**ca)];
        let server = Server::start(&world.postgres, &settings).await;
        let line = eventually("the log says that it is away", async || {
            let log = server.log();
            log.lines().find(|line| line.contains("bus between nodes is away")).map(str::to_owned)
        })
        .await;
        assert!(line.contains(said), "{line}");
        assert!(!server.log().contains("hunter2"));
        ready(&server, 503).await;
    }
}

#[tokio::test]
async fn a_file_that_is_no_certificate_is_refused_by_its_name() {
    let certificates = Certificates::new();
    let error = |ca: &str| {
        let tls = Tls { ca: Some(certificates.file(ca)), own: None };
        let config = Config { tls, ..Config::default() };
        reason(&Redis::new("rediss://h", config, Metrics::default()).unwrap_err())
    };
    let missing = error("nowhere.crt");
    assert!(missing.contains("nowhere.crt") && missing.contains("No such file"), "{missing}");
    let empty = error("san");
    assert!(empty.contains("san") && empty.contains("no certificate"), "{empty}");
}
