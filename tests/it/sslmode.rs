//! `sslmode` as libpq means it, for both kinds of connection.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rowcast::postgres::{
    connect::{
        ConnectConfig,
        SslMode::{self, Allow, Disable, Prefer, Require, VerifyCa, VerifyFull},
    },
    session::{SessionConfig, connect},
    wire::{Connection, Mode, Startup},
};

use crate::support::{eventually, postgres::Postgres};

const PASSWORD: &str = "secret";

fn openssl(dir: &Path, arguments: &str) {
    let arguments = arguments.split_whitespace();
    let output = Command::new("openssl").current_dir(dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a certificate of it for `localhost`, given to the server.
async fn enable_tls(server: &Postgres) -> PathBuf {
    let dir = server.dir();
    fs::write(dir.join("san"), "subjectAltName=DNS:localhost").unwrap();
    for name in ["ca", "stranger"] {
        openssl(
            dir,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} \
                 -keyout {name}.key -out {name}.crt"
            ),
        );
    }
    openssl(dir, "req -newkey rsa:2048 -nodes -subj /CN=x -keyout server.key -out server.csr");
    openssl(
        dir,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
         -extfile san -sha384 -out server.crt",
    );
    let owner = fs::metadata(server.data()).unwrap();
    for name in ["server.key", "server.crt"] {
        let path = server.data().join(name);
        fs::copy(dir.join(name), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        use std::os::unix::fs::MetadataExt as _;
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let client = server.client().await;
    client
        .batch_execute(&format!("create role app login replication password '{PASSWORD}'"))
        .await
        .unwrap();
    client.batch_execute("alter system set ssl = on").await.unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    dir.to_owned()
}

/// Whether each kind of connection is encrypted; none if it is refused.
async fn encrypted(config: &ConnectConfig) -> Option<bool> {
    const SQL: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let session = connect(config, &SessionConfig::new("tls")).await.ok();
    let over_sql = match session {
        Some(client) => Some(client.query_one(SQL, &[]).await.unwrap().get::<_, bool>(0)),
        None => None,
    };
    let startup = Startup {
        application_name: "tls".to_owned(),
        mode: Mode::Replication,
        timeout: Duration::from_secs(10),
    };
    let over_wire = match Connection::open(config, &startup).await.ok() {
        Some(mut wire) => Some(wire.query(SQL).await.unwrap().text(0, 0) == Some("t")),
        None => None,
    };
    assert_eq!(over_sql, over_wire, "both kinds agree: {config:?}");
    over_sql
}

#[tokio::test]
async fn each_mode_encrypts_and_verifies_as_in_libpq() {
    let server = Postgres::start(&[]).await;
    let dir = enable_tls(&server).await;
    let (ca, stranger) = (Some(dir.join("ca.crt")), Some(dir.join("stranger.crt")));
    let config = |host: &str, ssl_mode: SslMode, root: &Option<PathBuf>| ConnectConfig {
        host: host.to_owned(),
        user: "app".to_owned(),
        password: Some(PASSWORD.to_owned()),
        ssl_mode,
        ssl_root_cert: root.clone(),
        ..server.config()
    };
    let (plain, tls, refused) = (Some(false), Some(true), None);

    // SCRAM over TLS is SCRAM-SHA-256-PLUS here: the server offers it.
    server.authenticate("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n").await;
    eventually("TLS is on", async || {
        (encrypted(&config("localhost", Prefer, &None)).await == tls).then_some(())
    })
    .await;
    for (host, mode, root, expected) in [
        ("localhost", Disable, &None, plain),
        ("localhost", Allow, &None, plain),
        ("localhost", Prefer, &None, tls),
        ("localhost", Require, &None, tls),
        ("localhost", Require, &ca, tls),
        ("localhost", Require, &stranger, refused),
        ("localhost", VerifyCa, &ca, tls),
        ("localhost", VerifyCa, &None, refused),
        ("localhost", VerifyCa, &stranger, refused),
        ("127.0.0.1", VerifyCa, &ca, tls),
        ("localhost", VerifyFull, &ca, tls),
        ("127.0.0.1", VerifyFull, &ca, refused),
    ] {
        let config = config(host, mode, root);
        assert_eq!(encrypted(&config).await, expected, "{config:?}");
    }

    let rules =
        |kind: &str| format!("local all all trust\n{kind} all all 127.0.0.1/32 scram-sha-256\n");
    server.authenticate(&rules("hostssl")).await;
    eventually("plain is refused", async || {
        encrypted(&config("localhost", Disable, &None)).await.is_none().then_some(())
    })
    .await;
    assert_eq!(encrypted(&config("localhost", Allow, &None)).await, tls);

    server.authenticate(&rules("hostnossl")).await;
    eventually("TLS is refused", async || {
        encrypted(&config("localhost", Require, &None)).await.is_none().then_some(())
    })
    .await;
    assert_eq!(encrypted(&config("localhost", Prefer, &None)).await, plain);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_tls_is_required() {
    let server = Postgres::start(&[]).await;
    let mut config = server.config();
    assert_eq!(encrypted(&config).await, Some(false));
    config.ssl_mode = Require;
    assert_eq!(encrypted(&config).await, None);
}
