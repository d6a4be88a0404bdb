//! Who may stream, and what is said to those who may not.

use super::*;

#[tokio::test]
async fn passwords_work_and_wrong_ones_say_so() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    for (user, method) in [("scram", "scram-sha-256"), ("md5", "md5")] {
        client
            .batch_execute(&format!(
                "set password_encryption = '{method}'; \
                 create role {user} login replication password 'sécret'; \
                 grant create on database postgres to {user}"
            ))
            .await
            .unwrap();
    }
    client.batch_execute("create role plain login replication password 'sécret'").await.unwrap();
    server
        .authenticate(
            "local all all trust\n\
             host all postgres 127.0.0.1/32 trust\n\
             host all scram 127.0.0.1/32 scram-sha-256\n\
             host all md5 127.0.0.1/32 md5\n\
             host all plain 127.0.0.1/32 password\n",
        )
        .await;
    for user in ["scram", "md5", "plain"] {
        let mut config = Config::new(server.config());
        config.connect.user = user.to_owned();
        config.connect.password = Some("sécret".to_owned());
        config.slot_name = format!("slot_{user}");
        let (recorder, drain, _) = spawn(config.clone());
        recorder.wait_starts(1).await;
        stop(&drain).await;

        config.connect.password = Some("wrong".to_owned());
        let (_, drain, handle) = spawn(config);
        assert!(failure(&handle).await.contains("28P01"));
        stop(&drain).await;
    }
}

/// Why a stream cannot start.
async fn failure(handle: &Handle) -> String {
    let status = wait_status(handle, |status| matches!(status, Status::Failed { .. })).await;
    let Status::Failed { reason, .. } = status else { panic!("{status:?}") };
    reason.to_string()
}

#[tokio::test]
async fn a_missing_grant_is_named_and_its_coming_noticed() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    client.batch_execute(r#"create role "my ""app" login replication"#).await.unwrap();
    let mut config = Config::new(server.config());
    config.connect.user = "my \"app".to_owned();
    let (recorder, drain, handle) = spawn(config);
    let reason = failure(&handle).await;
    assert!(reason.contains(r#"GRANT CREATE ON DATABASE postgres TO "my ""app"`"#), "{reason}");
    client.batch_execute(r#"grant create on database postgres to "my ""app""#).await.unwrap();
    recorder.wait_starts(1).await;
    stop(&drain).await;
}

#[tokio::test]
async fn a_server_that_logs_too_little_is_named() {
    let server = Postgres::start(&["wal_level=replica"]).await;
    let (_, drain, handle) = spawn(Config::new(server.config()));
    let reason = failure(&handle).await;
    assert!(reason.contains("wal_level=logical"), "{reason}");
    stop(&drain).await;
}

#[tokio::test]
async fn a_publication_that_must_not_be_created_is_waited_for() {
    let server = Postgres::start(&[]).await;
    let mut config = Config::new(server.config());
    config.create_publications = false;
    config.publications = vec![Publication::of_the_user("it's \"mine\"")];
    let (recorder, drain, handle) = spawn(config);
    let reason = failure(&handle).await;
    assert_eq!(reason, r#"publication "it's ""mine""" does not exist"#);
    let client = server.client().await;
    let sql = "create table t (id int); create publication \"it's \"\"mine\"\"\" for table t";
    client.batch_execute(sql).await.unwrap();
    recorder.wait_starts(1).await;
    client.batch_execute("insert into t values (1)").await.unwrap();
    assert_eq!(recorder.wait_changes(1).await, ["insert t 1"]);
    stop(&drain).await;
}

#[tokio::test]
async fn a_stream_runs_over_a_unix_socket() {
    let server = Postgres::start(&[]).await;
    let mut config = Config::new(server.config());
    config.connect.host = server.dir().to_str().unwrap().to_owned();
    let (recorder, drain, _) = spawn(config);
    recorder.wait_starts(1).await;
    stop(&drain).await;
}
