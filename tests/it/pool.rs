//! The SQL pool's promises.

use std::time::Duration;

use rowcast::postgres::{
    pool::{Pool, PoolConfig, PoolError},
    session::SessionConfig,
};

use crate::support::{eventually, postgres::Postgres};

fn pool(server: &Postgres, size: usize, user: &str) -> Pool {
    let mut connect = server.config();
    connect.user = user.to_owned();
    let mut session = SessionConfig::new("pool-test");
    session.statement_timeout = Some(Duration::from_secs(5));
    Pool::new(PoolConfig { connect, size, wait: Duration::from_millis(200), session })
}

async fn setting(pool: &Pool, name: &str) -> String {
    let lease = pool.checkout().await.unwrap();
    lease.query_one("select current_setting($1)", &[&name]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_pool_is_bounded_and_its_sessions_are_clean() {
    let server = Postgres::start(&[]).await;
    let pool = pool(&server, 1, "postgres");
    assert_eq!(setting(&pool, "TimeZone").await, "UTC");
    assert_eq!(setting(&pool, "statement_timeout").await, "5s");

    let lease = pool.checkout().await.unwrap();
    assert_eq!(pool.in_use(), 1);
    let refused = pool.checkout().await.unwrap_err();
    assert!(matches!(refused, PoolError::Exhausted { size: 1, .. }), "{refused}");
    assert!(refused.is_transient());

    drop(lease);
    // A connection is reused.
    let backend = async |pool: &Pool| -> i32 {
        let lease = pool.checkout().await.unwrap();
        lease.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
    };
    let first = backend(&pool).await;
    assert_eq!(backend(&pool).await, first);

    // One that is still busy with what nobody waits for any more is not.
    let lease = pool.checkout().await.unwrap();
    let given_up = lease.batch_execute("select pg_sleep(4)");
    tokio::time::timeout(Duration::from_millis(100), given_up).await.unwrap_err();
    drop(lease);
    let second = backend(&pool).await;
    assert_ne!(second, first);

    // Neither is a dirty one.
    let mut lease = pool.checkout().await.unwrap();
    lease.mark_dirty();
    lease.batch_execute("begin; set local application_name = 'left over'").await.unwrap();
    drop(lease);
    assert_ne!(backend(&pool).await, second);
    assert_eq!(setting(&pool, "application_name").await, "pool-test");
}

#[tokio::test]
async fn broken_connections_are_replaced() {
    let mut server = Postgres::start(&[]).await;
    let pool = pool(&server, 2, "postgres");
    let (one, two) = (pool.checkout().await.unwrap(), pool.checkout().await.unwrap());
    drop((one, two));
    server.stop().await;
    let down = eventually("the pool notices", async || pool.checkout().await.err()).await;
    assert!(down.is_transient(), "{down:?}");
    server.resume().await;
    assert_eq!(setting(&pool, "TimeZone").await, "UTC");
}

#[tokio::test]
async fn a_server_without_connections_left_is_its_own_error() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    client.batch_execute("create role app login connection limit 1").await.unwrap();
    let pool = pool(&server, 2, "app");
    let _first = pool.checkout().await.unwrap();
    let error = pool.checkout().await.unwrap_err();
    assert!(matches!(error, PoolError::TooManyConnections(_)), "{error:?}");
    assert_eq!(pool.in_use(), 1, "a failed checkout keeps no place");
}
