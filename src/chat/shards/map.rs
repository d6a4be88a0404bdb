//! Which bucket a room is in, and which shard has the bucket. Pure.

use uuid::Uuid;

/// Buckets of rooms, and never another number.
pub const BUCKETS: u16 = 4096;

/// A prime below 2³¹, so that the database can do the same in whole numbers.
const PRIME: u128 = 2_147_483_629;

/// A room's bucket: its uuid as a number of 128 bits, modulo 2147483629, modulo
/// 4096. `chat.bucket` in the database is the same function.
pub fn bucket(room: Uuid) -> u16 {
    u16::try_from(room.as_u128() % PRIME % u128::from(BUCKETS)).unwrap_or_default()
}

/// The shard of each bucket, as of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) struct Map {
    /// By bucket.
    shards: Vec<usize>,
    version: i64,
}

impl Map {
    /// The map in rows of text `bucket shard version`; `None` unless they tell
    /// of every bucket.
    pub(super) fn read<S: AsRef<str>>(rows: &[S]) -> Option<Self> {
        let mut map = Self { shards: vec![usize::MAX; BUCKETS.into()], version: 0 };
        map.update(rows);
        (!map.shards.contains(&usize::MAX)).then_some(map)
    }

    /// Takes in rows that are newer.
    pub(super) fn update<S: AsRef<str>>(&mut self, rows: &[S]) {
        for row in rows {
            let mut numbers = row.as_ref().split(' ').map(str::parse::<i64>);
            let mut next = || numbers.next()?.ok();
            let Some((bucket, shard, version)) = next().zip(next()).zip(next()).map(flat) else {
                continue;
            };
            let place = usize::try_from(bucket).ok().and_then(|at| self.shards.get_mut(at));
            if let (Some(place), Ok(shard)) = (place, usize::try_from(shard)) {
                *place = shard;
                self.version = self.version.max(version);
            }
        }
    }

    pub(in crate::chat) fn version(&self) -> i64 {
        self.version
    }

    /// The shard that has a room.
    pub(in crate::chat) fn of(&self, room: Uuid) -> usize {
        self.shards.get(usize::from(bucket(room))).copied().unwrap_or(usize::MAX)
    }
}

fn flat(((a, b), c): ((i64, i64), i64)) -> (i64, i64, i64) {
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_what_they_always_were() {
        let bucket = |text: &str| bucket(text.parse().unwrap());
        assert_eq!(bucket("00000000-0000-0000-0000-000000000000"), 0);
        assert_eq!(bucket("00000000-0000-0000-0000-000000001001"), 1);
        assert_eq!(bucket("ffffffff-ffff-ffff-ffff-ffffffffffff"), 271);
        assert_eq!(bucket("123e4567-e89b-42d3-a456-426614174000"), 2431);
    }

    #[test]
    fn random_rooms_are_spread_evenly() {
        let mut counts = vec![0_u32; BUCKETS.into()];
        for _ in 0..40_960 {
            counts[usize::from(bucket(Uuid::new_v4()))] += 1;
        }
        assert!(counts.iter().all(|count| *count < 40), "ten in each on the average");
    }

    #[test]
    fn a_map_knows_every_bucket_and_takes_in_what_is_newer() {
        let rows: Vec<String> = (0..4096).map(|b| format!("{b} {} 1", b % 3)).collect();
        assert_eq!(Map::read(&rows[1..]), None);
        let mut map = Map::read(&rows).unwrap();
        let room = Uuid::from_u128(4);
        assert_eq!((map.of(room), map.version()), (1, 1));
        map.update(&["4 2 9", "nonsense", "9999 1 3"]);
        assert_eq!((map.of(room), map.version()), (2, 9));
    }
}
