//! What a URL says about where Redis is: one server, sentinels that know it, or
//! some of a cluster.

use redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};
use url::form_urlencoded;

use super::Unusable;

/// Where Redis is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) kind: Kind,
    /// The servers that the URL names, at least one, each with the login that
    /// it gives.
    pub(super) hosts: Vec<ConnectionInfo>,
}

/// What is at the hosts of a URL.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// The server itself.
    Single,
    /// Sentinels.
    Sentinel {
        /// What they call the server.
        master: String,
        /// Their own login. That of the hosts is the server's.
        login: RedisConnectionInfo,
    },
    /// Servers of a Redis Cluster, which know the others.
    Cluster,
}

/// What a port is if none is named.
const SENTINEL_PORT: u16 = 26_379;

impl Place {
    /// Reads `SCHEME://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DATABASE][?…]`.
    /// The schemes are `redis`; `redis-sentinel` with `?master=NAME` and the
    /// sentinels' own `sentinel_user` and `sentinel_password`; `redis-cluster`.
    /// `rediss` is the same with TLS, and `valkey` and `valkeys` are other
    /// names of the two.
    pub(super) fn parse(url: &str) -> Result<Self, Unusable> {
        let (scheme, rest) = url.split_once("://").ok_or(Unusable::Url("it has no scheme"))?;
        let (scheme, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (login, hosts) = authority.split_at(at);
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let host = |host: &str| read(&format!("{scheme}://{login}{host}{path}"));
        match kind {
            "" if hosts.contains(',') => {
                Err(Unusable::Url("several hosts are for redis-sentinel:// and redis-cluster://"))
            }
            "" => Ok(Self { kind: Kind::Single, hosts: vec![read(url)?] }),
            "sentinel" => {
                let kind = sentinel(query)?;
                let hosts = hosts.split(',').map(|name| host(&with_port(name)));
                Ok(Self { kind, hosts: hosts.collect::<Result<_, _>>()? })
            }
            "cluster" if !query.is_empty() => {
                Err(Unusable::Url("it has a parameter that is unknown"))
            }
            "cluster" => {
                let hosts: Vec<_> = hosts.split(',').map(host).collect::<Result<_, _>>()?;
                if hosts.iter().any(|host| host.redis_settings().db() != 0) {
                    return Err(Unusable::Url("a cluster has database 0 only"));
                }
                Ok(Self { kind: Kind::Cluster, hosts })
            }
            _ => Err(Unusable::Url("its scheme is unknown")),
        }
    }
}

fn read(url: &str) -> Result<ConnectionInfo, Unusable> {
    let info = url.into_connection_info().map_err(Unusable::Host)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

fn sentinel(query: &str) -> Result<Kind, Unusable> {
    // Not every version of Sentinel knows RESP3.
    let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2);
    let mut master = String::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "master" => master = value.into_owned(),
            "sentinel_user" => login = login.set_username(value),
            "sentinel_password" => login = login.set_password(value),
            _ => return Err(Unusable::Url("it has a parameter that is unknown")),
        }
    }
    if master.is_empty() {
        return Err(Unusable::Url("it lacks ?master=NAME, what the sentinels call the server"));
    }
    Ok(Kind::Sentinel { master, login })
}

fn with_port(host: &str) -> String {
    let named = url::Url::parse(&format!("redis://{host}")).ok().and_then(|url| url.port());
    if named.is_some() { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::reason;

    fn hosts(place: &Place) -> Vec<String> {
        place.hosts.iter().map(|host| host.addr().to_string()).collect()
    }

    #[test]
    fn one_server_is_as_the_client_reads_it() {
        let place = Place::parse("redis://u%40:p%2F@h:7000/3?protocol=resp3").unwrap();
        assert!(matches!(place.kind, Kind::Single));
        assert_eq!(hosts(&place), ["h:7000"]);
        let settings = place.hosts[0].redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("u@"), Some("p/")));
        assert_eq!((settings.db(), settings.protocol()), (3, ProtocolVersion::RESP3));
        assert_eq!(hosts(&Place::parse("valkeys://h").unwrap()), ["h:6379"]);
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        let url = "redis-sentinel://u:p@a,b:5000,[::1]/2?master=m%20y&sentinel_password=q";
        let place = Place::parse(url).unwrap();
        assert_eq!(hosts(&place), ["a:26379", "b:5000", "::1:26379"]);
        assert!(place.hosts.iter().all(|host| host.redis_settings().password() == Some("p")));
        assert_eq!(place.hosts[2].redis_settings().db(), 2);
        let Kind::Sentinel { master, login } = place.kind else { panic!("{place:?}") };
        assert_eq!((&*master, login.username(), login.password()), ("m y", None, Some("q")));
    }

    #[test]
    fn a_cluster_is_known_by_some_of_its_servers() {
        let place = Place::parse("rediss-cluster://:p@a,b:7001").unwrap();
        assert!(matches!(place.kind, Kind::Cluster));
        assert_eq!(hosts(&place), ["a:6379", "b:7001"]);
        assert!(matches!(place.hosts[1].addr(), redis::ConnectionAddr::TcpTls { .. }));
        assert_eq!(place.hosts[1].redis_settings().password(), Some("p"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let fault = |url: &str| reason(&Place::parse(url).unwrap_err());
        for (url, said) in [
            (
                "redis://u:hunter2@a,b",
                "several hosts are for redis-sentinel:// and redis-cluster://",
            ),
            ("redis-sentinel://u:hunter2@a,b", "it lacks ?master=NAME"),
            ("redis-sentinel://u:hunter2@a?master=m&hunter2=1", "a parameter that is unknown"),
            ("redis-sentinel://u:hunter2@a,,b?master=m", "cannot be used"),
            ("redis-sentinel://u:hunter2@a:x?master=m", "cannot be used"),
            ("redis-sentinel://u:hunter2@a/hunter2?master=m", "cannot be used"),
            ("redis-cluster://u:hunter2@a,b/1", "a cluster has database 0 only"),
            ("redis-cluster://u:hunter2@a,b?master=m", "a parameter that is unknown"),
            ("redis-ring://u:hunter2@a", "its scheme is unknown"),
            ("redis://u:hunter2@", "cannot be used"),
        ] {
            let fault = fault(url);
            assert!(fault.contains(said), "{url}: {fault}");
            assert!(!fault.contains("hunter2"), "{url}: {fault}");
        }
    }
}
