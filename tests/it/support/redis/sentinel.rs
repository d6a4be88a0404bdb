//! A Redis, its replica, and three sentinels that watch over them.

use std::fs;

use super::{super::eventually, Redis};

/// What the sentinels call the server.
const NAME: &str = "main";

pub struct Sentinels {
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// A master, its replica, and those who watch them, all of whom know each other.
    pub async fn start() -> (Self, Vec<Redis>) {
        let master = Redis::start(&["--repl-diskless-sync-delay", "0"]).await;
        let of = format!("127.0.0.1 {}", master.port);
        let replica = Redis::start(&["--repl-diskless-sync-delay", "0", "--replicaof", &of]).await;
        eventually("the replica follows", async || {
            replica.command(&["INFO", "replication"]).contains("link_status:up").then_some(())
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let dir =
                tempfile::Builder::new().prefix("rowcast-sentinel-").tempdir_in("/tmp").unwrap();
            let watch = format!(
                "sentinel monitor {NAME} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {NAME} 700\n\
                 sentinel failover-timeout {NAME} 1000\n",
                master.port
            );
            fs::write(dir.path().join("sentinel.conf"), watch).unwrap();
            let settings = ["{dir}/sentinel.conf", "--sentinel", "--port", "{port}"];
            sentinels.push(Redis::start_in(dir, &settings).await);
        }
        let all = Self { sentinels };
        eventually("the sentinels know each other and the replica", async || {
            all.sentinels.iter().all(Redis::knows_the_others).then_some(())
        })
        .await;
        (all, vec![master, replica])
    }

    /// Where to ask for the server.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(Redis::address).collect();
        format!("redis-sentinel://{}?master={NAME}", hosts.join(","))
    }

    /// Ends one of them.
    pub fn kill9(&mut self, at: usize) {
        self.sentinels[at].kill9();
    }

    /// Puts the replica in the master's place, as an administrator would.
    pub fn fail_over(&self) {
        self.sentinels[2].command(&["SENTINEL", "FAILOVER", NAME]);
    }
}

impl Redis {
    fn knows_the_others(&self) -> bool {
        let about = self.command(&["SENTINEL", "MASTER", NAME]);
        let lines: Vec<&str> = about.lines().collect();
        let number = |name| lines.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        (number("num-slaves"), number("num-other-sentinels")) == (Some("1"), Some("2"))
    }
}
