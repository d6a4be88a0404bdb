//! A queue with a bound in bytes between those who never wait and one who may.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Bytes charged for each item beside its own length.
const ITEM_COST: usize = 128;

/// Items in order, each with its size in bytes.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: Mutex<Items<T>>,
    limit: usize,
    wake: Notify,
}

#[derive(Debug)]
struct Items<T> {
    list: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Queue<T> {
    /// A queue of at most `limit` bytes. A single larger item passes when it is empty.
    pub(super) fn new(limit: usize) -> Self {
        let items = Items { list: VecDeque::new(), bytes: 0 };
        Self { items: Mutex::new(items), limit, wake: Notify::new() }
    }

    /// Puts an item of `size` bytes at the end; false if there is no room.
    pub(super) fn push(&self, size: usize, item: T) -> bool {
        let size = size.saturating_add(ITEM_COST);
        let mut items = self.lock();
        if items.bytes > 0 && items.bytes.saturating_add(size) > self.limit {
            return false;
        }
        items.bytes += size;
        items.list.push_back((size, item));
        drop(items);
        self.wake.notify_one();
        true
    }

    /// The next items: at least one, at most `count`, and no further one once
    /// they have `bytes`. Waits while there is none. Cancel safe; one caller at a time.
    pub(super) async fn take(&self, count: usize, bytes: usize) -> Vec<T> {
        loop {
            let batch = self.next(count, bytes);
            if !batch.is_empty() {
                return batch;
            }
            self.wake.notified().await;
        }
    }

    fn next(&self, count: usize, bytes: usize) -> Vec<T> {
        let mut items = self.lock();
        let (mut batch, mut taken) = (Vec::new(), 0);
        while batch.len() < count
            && taken < bytes
            && let Some((size, item)) = items.list.pop_front()
        {
            taken += size;
            batch.push(item);
        }
        items.bytes -= taken;
        if items.list.is_empty() && items.list.capacity() > 64 {
            items.list = VecDeque::new();
        }
        batch
    }

    /// Drops everything and says how much that was.
    pub(super) fn clear(&self) -> usize {
        let mut items = self.lock();
        items.bytes = 0;
        std::mem::take(&mut items.list).len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().list.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Items<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_keep_the_order_and_what_does_not_fit_is_refused() {
        let queue = Queue::new(1_000);
        assert!(queue.push(5_000, 0), "alone, anything passes");
        assert!(!queue.push(1, 1));
        assert_eq!(queue.take(10, 10).await, [0]);
        for n in 0..4 {
            assert!(queue.push(100, n));
        }
        assert!(!queue.push(100, 4));
        assert_eq!(queue.take(3, 10_000).await, [0, 1, 2]);
        assert!(queue.push(100, 5));
        assert_eq!(queue.take(10, 1).await, [3], "one at least");
        assert_eq!(queue.clear(), 1);
        assert!(queue.is_empty() && queue.push(900, 6));
    }
}
