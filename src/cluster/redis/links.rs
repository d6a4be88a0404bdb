//! The link that each message came by.
//!
//! What was on a connection that broke may still come, seconds later, when the
//! network is whole again. By then its node has connected anew and said more.
//! So each message bears the number of its node's link, and one of an older
//! link than was heard of is dropped: late is lost, and never out of order.

use hashbrown::HashMap;

use super::super::{NodeId, envelope};

/// The newest link of each node that was heard of.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<NodeId, u32>);

/// Nodes that are remembered. There are more only over many restarts.
const NODES: usize = 1000;

impl Links {
    /// Whether its node has said something by a newer link before.
    pub(super) fn is_late(&mut self, bytes: &[u8]) -> bool {
        let (Some(node), Some(link)) = (envelope::sender(bytes), envelope::link(bytes)) else {
            return false;
        };
        if self.0.len() >= NODES && !self.0.contains_key(&node) {
            self.0.clear();
        }
        let newest = self.0.entry(node).or_default();
        *newest = link.max(*newest);
        link < *newest
    }
}
