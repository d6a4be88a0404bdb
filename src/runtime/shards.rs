//! One value split into many by key, so that keys rarely wait for each other.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

/// Enough that unrelated keys rarely meet on a few dozen cores.
const COUNT: usize = 64;

/// `COUNT` values of `T`; each key has its own among them, always the same.
#[derive(Debug)]
pub struct Shards<T> {
    values: Box<[T]>,
    hasher: RandomState,
}

impl<T: Default> Shards<T> {
    /// All at their default.
    pub fn new() -> Self {
        let values = (0..COUNT).map(|_| T::default()).collect();
        Self { values, hasher: RandomState::default() }
    }

    /// All values.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    /// The value that `key` belongs to.
    pub fn of<K: Hash>(&self, key: &K) -> &T {
        let hash = self.hasher.hash_one(key);
        // The upper bits: the maps inside use the lower ones.
        let index = usize::try_from(hash >> 32).unwrap_or(0) % COUNT;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        &self.values[index]
    }
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self::new()
    }
}
