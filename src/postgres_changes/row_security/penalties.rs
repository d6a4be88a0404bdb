//! Readers whose policies took too long, and are not asked for a while.
//!
//! The stream waits for every judgement, so a policy that is always slow would
//! cost everybody the time limit again and again.

use std::{collections::HashMap, sync::Arc};

use tokio::time::{Duration, Instant};

use super::Claimant;

/// How long nobody is asked.
const PAUSE: Duration = Duration::from_secs(10);

/// So many slow claimants of a role make the table's policies slow for the role.
const MANY: usize = 5;

/// Who is not asked about which table, and until when.
#[derive(Debug, Default)]
pub(super) struct Penalties {
    claimants: HashMap<(u32, u64), (Arc<str>, Instant)>,
    roles: HashMap<(u32, Arc<str>), Instant>,
}

impl Penalties {
    /// The policies of a table took too long for this claimant.
    pub(super) fn strike(&mut self, table: u32, claimant: &Claimant) {
        let now = Instant::now();
        self.forget(now);
        let role = Arc::clone(&claimant.role);
        self.claimants.insert((table, claimant.id), (Arc::clone(&role), now + PAUSE));
        let slow = self.claimants.iter().filter(|((of, _), (by, _))| *of == table && *by == role);
        if slow.count() >= MANY {
            self.roles.insert((table, role), now + PAUSE);
        }
    }

    /// They took too long before anybody in particular was asked for.
    pub(super) fn strike_role(&mut self, table: u32, role: &Arc<str>) {
        let now = Instant::now();
        self.forget(now);
        self.roles.insert((table, Arc::clone(role)), now + PAUSE);
    }

    /// True if nobody was slow lately.
    pub(super) fn is_empty(&self) -> bool {
        self.claimants.is_empty() && self.roles.is_empty()
    }

    /// True if this claimant is not to be asked about the table now.
    pub(super) fn holds(&self, table: u32, claimant: &Claimant) -> bool {
        let now = Instant::now();
        let claimants = self.claimants.get(&(table, claimant.id));
        let role = self.roles.get(&(table, Arc::clone(&claimant.role)));
        claimants.is_some_and(|(_, until)| *until > now) || role.is_some_and(|until| *until > now)
    }

    fn forget(&mut self, now: Instant) {
        self.claimants.retain(|_, (_, until)| *until > now);
        self.roles.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Claimants, *};

    #[tokio::test(start_paused = true)]
    async fn who_was_slow_is_asked_again_after_a_while() {
        let (mut penalties, mut claimants) = (Penalties::default(), Claimants::default());
        let role: Arc<str> = Arc::from("r");
        let all: Vec<_> =
            (0..7).map(|n| claimants.enter(&role, &Arc::from(format!("{{\"n\":{n}}}")))).collect();
        penalties.strike(1, &all[0]);
        assert!(penalties.holds(1, &all[0]) && !penalties.holds(1, &all[6]));
        assert!(!penalties.holds(2, &all[0]));
        all.iter().take(5).for_each(|slow| penalties.strike(1, slow));
        assert!(penalties.holds(1, &all[6]), "so many are the role's fault");
        tokio::time::advance(PAUSE).await;
        assert!(!penalties.holds(1, &all[0]) && !penalties.holds(1, &all[6]));
        penalties.strike_role(1, &role);
        assert!(penalties.holds(1, &all[0]) && !penalties.holds(2, &all[0]));
    }
}
