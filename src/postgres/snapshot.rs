//! Which transactions a query saw. Pure.

/// `pg_current_snapshot()` of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The first that had not begun.
    end: u64,
    /// Those before it that were running.
    running: Box<[u64]>,
}

impl Snapshot {
    /// Reads PostgreSQL's form: `xmin:xmax:xid,xid,…`. `None` if it is another.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').skip(1);
        let end = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let running = list.split(',').filter(|xid| !xid.is_empty()).map(str::parse);
        Some(Self { end, running: running.collect::<Result<_, _>>().ok()? })
    }

    /// Whether the query saw a transaction that is known to have committed, by
    /// the half of its number that the log has.
    pub fn saw(&self, xid: u32) -> bool {
        // Transactions that matter here are nearer than half of all numbers.
        let distance = xid.wrapping_sub(low(self.end)).cast_signed();
        distance < 0 && !self.running.iter().any(|running| low(*running) == xid)
    }
}

/// The lower half.
fn low(xid: u64) -> u32 {
    u32::try_from(xid & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_saw_what_had_ended_when_it_began() {
        let snapshot = Snapshot::parse("100:105:100,103").unwrap();
        let seen: Vec<u32> = (98..107).filter(|xid| snapshot.saw(*xid)).collect();
        assert_eq!(seen, [98, 99, 101, 102, 104]);
        assert!(Snapshot::parse("7:7:").unwrap().saw(6));
        for text in ["", "7", "7:8", "a:b:", "1:2:x"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_go_round() {
        let epoch = 1_u64 << 32;
        let snapshot = Snapshot::parse(&format!("{}:{}:{}", epoch - 3, epoch + 2, epoch - 2));
        let snapshot = snapshot.unwrap();
        let seen = [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1, 2].map(|xid| snapshot.saw(xid));
        assert_eq!(seen, [true, false, true, true, true, false]);
    }
}
