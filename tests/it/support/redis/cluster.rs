//! A Redis Cluster of three masters.

use std::process::Command;

use super::{super::eventually, Redis};

impl Redis {
    /// Three masters that share the slots.
    pub async fn cluster() -> Vec<Self> {
        let mut masters = Vec::new();
        for _ in 0..3 {
            masters.push(Self::member().await);
        }
        let addresses: Vec<_> = masters.iter().map(Self::address).collect();
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        Self::works(&masters).await;
        masters
    }

    /// One more server of a cluster, a replica of one of its masters.
    pub async fn replica(&self) -> Self {
        let replica = Self::member().await;
        let port = self.port.to_string();
        replica.command(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        let master = self.id();
        eventually("the replica knows its master", async || {
            let answer = replica.command(&["CLUSTER", "REPLICATE", &master]);
            answer.starts_with("OK").then_some(())
        })
        .await;
        eventually("the replica follows, and all know it", async || {
            let follows = replica.command(&["INFO", "replication"]).contains("link_status:up");
            let nodes = self.command(&["CLUSTER", "REPLICAS", &master]);
            (follows && nodes.contains(&replica.id())).then_some(())
        })
        .await;
        replica
    }

    /// Waits until a cluster does what it is there for.
    pub async fn works(servers: &[Self]) {
        let works = |server: &Self| {
            server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && server.command(&["CLUSTER", "SLOTS"]).contains("16383")
        };
        eventually("the cluster works", async || servers.iter().all(works).then_some(())).await;
    }

    /// Where a cluster of these is.
    pub fn cluster_url(servers: &[Self]) -> String {
        let addresses: Vec<_> = servers.iter().map(Self::address).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    /// What the others of its cluster call it.
    pub fn id(&self) -> String {
        self.command(&["CLUSTER", "MYID"]).trim().to_owned()
    }

    async fn member() -> Self {
        let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
        Self::start(&[&settings[..], &["--repl-diskless-sync-delay", "0"]].concat()).await
    }
}
