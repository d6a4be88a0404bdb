//! Finds the servers among those that may be it, and connects.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult,
    Value, aio::MultiplexedConnection,
};
use tokio::time::sleep;

use super::{
    Tls, Unusable,
    slots::{Address, Map, slot},
    url::{Kind, Place},
};

/// What leads to the servers.
#[derive(Debug)]
pub(super) struct Servers {
    place: Place,
    tls: Tls,
    timeout: Duration,
    /// The host to ask first.
    first: AtomicUsize,
    /// Masters of the cluster that were there the last time.
    known: Mutex<Vec<ConnectionInfo>>,
    /// Counts the times that the server may have become another one.
    changes: AtomicUsize,
}

impl Servers {
    pub(super) fn new(url: &str, tls: Tls, timeout: Duration) -> Result<Self, Unusable> {
        let place = Place::parse(url)?;
        tls.check(&place.hosts)?;
        let (first, changes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { place, tls, timeout, first, known: Mutex::default(), changes })
    }

    /// The number of the database.
    pub(super) fn database(&self) -> i64 {
        self.place.hosts.first().map_or(0, |host| host.redis_settings().db())
    }

    /// Grows when connections that were made before should be made again.
    pub(super) fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// What is connected may be the wrong server by now.
    pub(super) fn have_changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Until an answer is overdue.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How to connect.
    pub(super) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }

    /// A connection to the server that has a key now, and where that is.
    pub(super) async fn reach(
        &self,
        key: &str,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, ConnectionInfo)> {
        let reached = self.find_and_connect(key, config).await;
        if reached.is_err() {
            // Perhaps this sentinel is the one that does not know.
            self.first.fetch_add(1, Ordering::Relaxed);
        }
        reached
    }

    async fn find_and_connect(
        &self,
        key: &str,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, ConnectionInfo)> {
        if let Some((map, masters)) = self.map().await? {
            let owner = map.owner(slot(key.as_bytes())).and_then(|at| masters.into_iter().nth(at));
            let info = owner.ok_or_else(|| fault("no server has the slot"))?;
            return Ok((self.connect(&info, config).await?, info));
        }
        let info = self.find().await?;
        let mut connection = self.connect(&info, config).await?;
        if let Kind::Sentinel { .. } = self.place.kind
            && is_replica(&mut connection).await?
        {
            return Err(fault("the server that the sentinels name is no master yet"));
        }
        Ok((connection, info))
    }

    /// Which master of a cluster has which slot, and how each is reached.
    /// `None` where there is one server for all.
    pub(super) async fn map(&self) -> RedisResult<Option<(Map, Vec<ConnectionInfo>)>> {
        let Kind::Cluster = self.place.kind else { return Ok(None) };
        let first = self.first.load(Ordering::Relaxed) % self.place.hosts.len().max(1);
        let (last, hosts) = self.place.hosts.split_at(first);
        // The hosts of the URL may all be gone when the others are not.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut refusal = None;
        for server in hosts.iter().chain(last).chain(&known) {
            match self.read_map(server).await {
                Ok(map) => {
                    let like = |(host, port): &Address| {
                        let address = address(server.addr(), host.clone(), *port);
                        server.clone().set_addr(address)
                    };
                    let masters: Vec<_> = map.masters.iter().map(like).collect();
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.clone_from(&masters);
                    return Ok(Some((map, masters)));
                }
                Err(error) => refusal = Some(error),
            }
            self.first.fetch_add(1, Ordering::Relaxed);
        }
        Err(refusal.unwrap_or_else(|| fault("the URL names no server")))
    }

    async fn read_map(&self, server: &ConnectionInfo) -> RedisResult<Map> {
        let mut connection = self.connect(server, &self.config()).await?;
        is_working(&mut connection).await?;
        let slots: Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
        let host = match server.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        };
        Map::parse(&slots, host).ok_or_else(|| fault("the cluster has a slot without a server"))
    }

    /// One more connection to a server.
    pub(super) async fn connect(
        &self,
        info: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = self.tls.client(info.clone())?;
        client.get_multiplexed_async_connection_with_config(config).await
    }

    /// Waits until another server has taken the place of this one. Looks once
    /// in a while.
    pub(super) async fn is_replaced(&self, info: &ConnectionInfo, pause: Duration) -> RedisError {
        let Kind::Sentinel { .. } = self.place.kind else { return std::future::pending().await };
        loop {
            sleep(pause).await;
            // Sentinels that are away say nothing about the server.
            if let Ok(found) = self.find().await
                && found.addr() != info.addr()
            {
                return fault("the sentinels name another server");
            }
        }
    }

    async fn find(&self) -> RedisResult<ConnectionInfo> {
        let Kind::Sentinel { master, login } = &self.place.kind else {
            return self.host(0).cloned();
        };
        let mut refusal = None;
        for _ in &self.place.hosts {
            let sentinel = self.host(self.first.load(Ordering::Relaxed))?;
            match self.ask(&sentinel.clone().set_redis_settings(login.clone()), master).await {
                Ok((host, port)) => {
                    let address = address(sentinel.addr(), host, port);
                    return Ok(sentinel.clone().set_addr(address));
                }
                Err(error) => refusal = Some(error),
            }
            self.first.fetch_add(1, Ordering::Relaxed);
        }
        Err(refusal.unwrap_or_else(|| fault("there is no sentinel")))
    }

    async fn ask(&self, sentinel: &ConnectionInfo, master: &str) -> RedisResult<(String, u16)> {
        let mut connection = self.connect(sentinel, &self.config()).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let found: Option<(String, u16)> = command.query_async(&mut connection).await?;
        found.ok_or_else(|| fault("the sentinels know no server of that name"))
    }

    fn host(&self, at: usize) -> RedisResult<&ConnectionInfo> {
        let hosts = &self.place.hosts;
        let host = hosts.get(at % hosts.len().max(1));
        host.ok_or_else(|| fault("the URL names no server"))
    }
}

/// Another server, reached like the first one.
fn address(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls { insecure, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

/// Whether a server of a cluster can do what it is there for.
pub(super) async fn is_working(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let about: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await?;
    if about.contains("cluster_state:ok") {
        return Ok(());
    }
    Err(fault("the cluster is down"))
}

async fn is_replica(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    match redis::cmd("ROLE").query_async::<Value>(connection).await {
        Ok(Value::Array(role)) => Ok(!role.first().is_some_and(|role| is_text(role, "master"))),
        Ok(_) => Ok(false),
        // A user that may not ask: the sentinels have to be believed.
        Err(error) if error.code() == Some("NOPERM") => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == text.as_bytes(),
        Value::SimpleString(found) => found == text,
        _ => false,
    }
}

pub(super) fn fault(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Client, what))
}
