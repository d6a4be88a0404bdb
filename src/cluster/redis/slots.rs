//! What a Redis Cluster has where: 16,384 slots, each with one of its masters.

use redis::Value;

/// How many slots there are.
const SLOTS: usize = 16_384;

/// A host and its port.
pub(super) type Address = (String, u16);

/// Which master has which slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) masters: Vec<Address>,
    /// For each slot the place of its master among them.
    owners: Vec<usize>,
}

/// The slot of a channel or key: that of what is between its first braces, if
/// anything is.
pub(super) fn slot(name: &[u8]) -> u16 {
    let tag = name.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = name.get(open + 1..)?;
        rest.get(..rest.iter().position(|&byte| byte == b'}')?)
    });
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(name);
    // CRC-16/XMODEM.
    let bit = |sum: u16| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
    let add = |sum: u16, byte: &u8| (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| bit(sum));
    hashed.iter().fold(0, add) & 0x3fff
}

impl Map {
    /// From what a server at `host` answers to CLUSTER SLOTS. `None` if that
    /// makes no sense, or leaves a slot without a master.
    pub(super) fn parse(answer: &Value, host: &str) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut masters = Vec::new();
        let mut owners = vec![None; SLOTS];
        for range in ranges {
            let (first, last, address) = parse_range(range, host)?;
            let known = masters.iter().position(|master| *master == address);
            let owner = known.unwrap_or_else(|| {
                masters.push(address);
                masters.len() - 1
            });
            owners.get_mut(first..=last)?.fill(Some(owner));
        }
        Some(Self { masters, owners: owners.into_iter().collect::<Option<_>>()? })
    }

    /// Who has a slot, by its place among the masters.
    pub(super) fn owner(&self, slot: u16) -> Option<usize> {
        self.owners.get(usize::from(slot)).copied()
    }

    /// Takes note that a slot has moved. False if its new owner is none of the masters.
    pub(super) fn has_moved(&mut self, slot: u16, to: &Address) -> bool {
        let owner = self.masters.iter().position(|master| master == to);
        match (owner, self.owners.get_mut(usize::from(slot))) {
            (Some(owner), Some(place)) => {
                *place = owner;
                true
            }
            _ => false,
        }
    }
}

/// The first and the last slot, and their master.
fn parse_range(range: &Value, host: &str) -> Option<(usize, usize, Address)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &**parts else {
        return None;
    };
    let [name, Value::Int(port), ..] = &**master else { return None };
    let name = match name {
        Value::BulkString(name) => std::str::from_utf8(name).ok()?,
        _ => "",
    };
    // A server that does not know its own name means the one by which it was asked.
    let name = if name.is_empty() { host } else { name };
    let address = (name.to_owned(), u16::try_from(*port).ok()?);
    Some((usize::try_from(*first).ok()?, usize::try_from(*last).ok()?, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let host = Value::BulkString(host.as_bytes().to_vec());
        let master = Value::Array(vec![host, Value::Int(port), Value::Nil]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"));
    }

    #[test]
    fn a_map_follows_its_slots() {
        let answer = vec![range(0, 99, "a", 1), range(100, 16_383, "", 2)];
        let mut map = Map::parse(&Value::Array(answer), "me").unwrap();
        assert_eq!(map.masters, [("a".to_owned(), 1), ("me".to_owned(), 2)]);
        assert_eq!((map.owner(99), map.owner(100)), (Some(0), Some(1)));
        assert!(map.has_moved(99, &("me".to_owned(), 2)));
        assert_eq!((map.owner(98), map.owner(99)), (Some(0), Some(1)));
        assert!(!map.has_moved(98, &("a".to_owned(), 2)));
    }

    #[test]
    fn what_makes_no_sense_is_no_map() {
        let hole = vec![range(0, 99, "a", 1), range(101, 16_383, "a", 1)];
        let beyond = vec![range(0, 16_384, "a", 1)];
        let wrong = vec![range(0, 16_383, "a", 70_000)];
        let back = vec![range(9, 3, "a", 1)];
        for answer in [hole, beyond, wrong, back, vec![Value::Nil], vec![]] {
            assert_eq!(Map::parse(&Value::Array(answer), "me"), None);
        }
    }
}
