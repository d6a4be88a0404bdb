//! A look at the servers for an operator: what they are and how they are set up.

use std::time::Duration;

use redis::{RedisError, RedisResult, aio::MultiplexedConnection};

use super::{Servers, Tls, Unusable};

/// A server, as it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// `host:port`.
    pub address: String,
    /// Its version, such as `7.0.15`.
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// Bytes that it may use for keys; 0 for all there are.
    pub max_memory: u64,
    /// Bytes in use.
    pub used_memory: u64,
    /// What becomes of keys when that is full.
    pub policy: String,
}

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The settings lead to no server.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// It does not answer, or refuses.
    #[error("no answer from Redis")]
    Silent(#[source] RedisError),
}

/// Asks the server, or each master of a Redis Cluster.
///
/// # Errors
///
/// [`LookError`].
pub async fn look(url: &str, tls: Tls) -> Result<Vec<Look>, LookError> {
    let servers = Servers::new(url, tls, Duration::from_secs(5))?;
    Box::pin(all(&servers)).await.map_err(LookError::Silent)
}

async fn all(servers: &Servers) -> RedisResult<Vec<Look>> {
    let config = servers.config();
    let mut looks = Vec::new();
    if let Some((_, masters)) = servers.map().await? {
        for info in masters {
            let mut connection = servers.connect(&info, &config).await?;
            looks.push(ask(&mut connection, info.addr().to_string()).await?);
        }
        return Ok(looks);
    }
    let (mut connection, info) = servers.reach("", &config).await?;
    looks.push(ask(&mut connection, info.addr().to_string()).await?);
    Ok(looks)
}

async fn ask(connection: &mut MultiplexedConnection, address: String) -> RedisResult<Look> {
    let about: String = redis::cmd("INFO").query_async(connection).await?;
    Ok(Look::read(address, &about))
}

impl Look {
    /// Reads the answer to INFO.
    fn read(address: String, about: &str) -> Self {
        let field = |name: &str| {
            let mut fields = about.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned())
        };
        let number = |name| field(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            address,
            // Valkey says which Redis it is like, too.
            version: field("redis_version").unwrap_or_default(),
            mode: field("redis_mode").unwrap_or_default(),
            max_memory: number("maxmemory"),
            used_memory: number("used_memory"),
            policy: field("maxmemory_policy").unwrap_or_default(),
        }
    }

    /// The first number of the version, if it tells one.
    pub fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }

    /// Whether it is one of a Redis Cluster.
    pub fn is_sharded(&self) -> bool {
        self.mode == "cluster"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_of_itself() {
        let about = "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\n\
            # Memory\r\nused_memory:9\r\nmaxmemory:10\r\nmaxmemory_policy:allkeys-lru\r\n";
        let look = Look::read("h:1".to_owned(), about);
        assert_eq!((look.major(), look.is_sharded()), (Some(7), true));
        assert_eq!((look.max_memory, look.used_memory, &*look.policy), (10, 9, "allkeys-lru"));
        assert_eq!(Look::read(String::new(), "").major(), None);
    }
}
