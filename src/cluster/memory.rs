//! The bus within one process: nodes that share an [`Exchange`]. For tests of
//! what is above the bus; a server that is alone needs no bus at all.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::{runtime::Drain, topic::Key};

use super::{
    Bus, Envelope, Handler, Interest, Metrics, NodeId, Refused, interest::Times, queue::Queue,
};

/// Bytes that may wait for a node.
const LIMIT: usize = 1024 * 1024;

/// Where nodes meet. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Exchange(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nodes: RwLock<Vec<Weak<Memory>>>,
}

/// One node's bus.
#[derive(Debug)]
pub struct Memory {
    exchange: Exchange,
    node: NodeId,
    interest: Interest,
    /// What the exchange knows this node wants.
    known: RwLock<Vec<Key>>,
    incoming: Queue<Bytes>,
    reachable: watch::Sender<bool>,
    metrics: Metrics,
}

impl Exchange {
    /// Lets the nodes that there are reach it or not, as if it were a server.
    pub fn set_reachable(&self, reachable: bool) {
        let nodes = self.0.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter_map(Weak::upgrade).for_each(|node| node.set_reachable(reachable));
    }

    /// A node that meets the others here.
    pub fn node(&self, times: Times, metrics: Metrics) -> Arc<Memory> {
        let node = Arc::new(Memory {
            exchange: self.clone(),
            node: NodeId::random(),
            interest: Interest::new(times),
            known: RwLock::default(),
            incoming: Queue::new(LIMIT),
            reachable: watch::Sender::new(true),
            metrics,
        });
        let mut nodes = self.0.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&node));
        node
    }
}

impl Memory {
    /// Lets this node alone reach the exchange or not.
    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.send_replace(reachable);
    }

    /// Runs the node until the drain begins.
    pub fn start(self: &Arc<Self>, handler: Arc<dyn Handler>, drain: &Drain) {
        let (node, signal) = (Arc::clone(self), drain.clone());
        drain.spawn("bus", async move {
            tokio::select! {
                () = node.link() => {}
                () = node.receive(&*handler) => {}
                () = signal.started() => {}
            }
            node.interest.went_down();
        });
    }

    async fn link(&self) {
        let mut reachable = self.reachable.subscribe();
        loop {
            let _ = reachable.wait_for(|reachable| *reachable).await;
            self.interest.came_up();
            tokio::select! {
                () = self.subscribe() => {}
                _ = reachable.wait_for(|reachable| !*reachable) => {}
            }
            self.known().clear();
            self.interest.went_down();
        }
    }

    async fn subscribe(&self) {
        loop {
            let batch = self.interest.next(64).await;
            let mut known = self.known();
            known.retain(|key| !batch.unsubscribe.contains(key));
            known.extend(batch.subscribe.iter().cloned());
            drop(known);
            self.interest.confirm(&batch);
        }
    }

    async fn receive(&self, handler: &dyn Handler) {
        loop {
            for bytes in self.incoming.take(64, LIMIT).await {
                super::receive(&bytes, handler, &self.metrics);
            }
        }
    }

    fn known(&self) -> RwLockWriteGuard<'_, Vec<Key>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node knows of the topic.
    fn offer(&self, key: &Key, bytes: &Bytes) -> bool {
        let is_wanted = self.known().contains(key);
        if is_wanted && !self.incoming.push(bytes.len(), bytes.clone()) {
            self.metrics.dropped("slow", 1);
        }
        is_wanted
    }

    /// Tells how many nodes took it.
    fn send(&self, envelope: &Envelope) -> Result<usize, Refused> {
        if !self.interest.is_up() {
            self.metrics.dropped("away", 1);
            return Err(Refused::Away);
        }
        let bytes = Bytes::from(envelope.encode());
        let nodes = self.exchange.0.nodes.read();
        let nodes = nodes.unwrap_or_else(PoisonError::into_inner);
        let others = nodes.iter().filter_map(Weak::upgrade).filter(|other| other.node != self.node);
        let taken = others.filter(|other| other.offer(&envelope.key, &bytes)).count();
        self.metrics.sent.inc();
        Ok(taken)
    }
}

impl Bus for Memory {
    fn node(&self) -> NodeId {
        self.node
    }

    fn publish(&self, envelope: &Envelope) -> Result<(), Refused> {
        self.send(envelope).map(drop)
    }

    fn ask(&self, envelope: &Envelope) -> Result<oneshot::Receiver<usize>, Refused> {
        let (told, others) = oneshot::channel();
        let _ = told.send(self.send(envelope)?);
        Ok(others)
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }
}
