//! Readers whose policies took too long, and are not asked for a while.
//!
//! The stream waits for every judgement, so a policy that is always slow would
//! cost everybody the time limit again and again.

use std::{collections::HashMap, sync::Arc};

use tokio::time::{Duration, Instant};

use super::Claimant;

/// How long nobody is asked.
const PAUSE: Duration = Duration::from_secs(10);

/// So many slow users of a role make the table's policies slow for the role.
const MANY: usize = 5;

/// Who is not asked about which table, and until when.
#[derive(Debug, Default)]
pub(super) struct Penalties {
    users: HashMap<(u32, User), Instant>,
    roles: HashMap<(u32, Arc<str>), Instant>,
}

/// A role and the subject of its claims; claims without one are somebody by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct User {
    role: Arc<str>,
    subject: Box<str>,
    id: Option<u64>,
}

impl User {
    /// One user with many tokens is still one.
    fn of(claimant: &Claimant) -> Self {
        let (role, subject) = (Arc::clone(&claimant.role), claimant.subject.clone());
        let id = subject.is_empty().then_some(claimant.id);
        Self { role, subject, id }
    }
}

impl Penalties {
    /// The policies of a table took too long for this claimant.
    pub(super) fn strike(&mut self, table: u32, claimant: &Claimant) {
        let now = Instant::now();
        self.forget(now);
        self.users.insert((table, User::of(claimant)), now + PAUSE);
        let role = &claimant.role;
        let slow = self.users.keys().filter(|(of, user)| *of == table && user.role == *role);
        if slow.count() >= MANY {
            self.roles.insert((table, Arc::clone(role)), now + PAUSE);
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
        self.users.is_empty() && self.roles.is_empty()
    }

    /// True if this claimant is not to be asked about the table now.
    pub(super) fn holds(&self, table: u32, claimant: &Claimant) -> bool {
        let now = Instant::now();
        let user = self.users.get(&(table, User::of(claimant)));
        let role = self.roles.get(&(table, Arc::clone(&claimant.role)));
        user.is_some_and(|until| *until > now) || role.is_some_and(|until| *until > now)
    }

    fn forget(&mut self, now: Instant) {
        self.users.retain(|_, until| *until > now);
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

    #[tokio::test(start_paused = true)]
    async fn one_user_with_many_tokens_is_one() {
        let (mut penalties, mut claimants) = (Penalties::default(), Claimants::default());
        let role: Arc<str> = Arc::from("r");
        let mut of = |sub: &str, n: u32| {
            claimants.enter(&role, &Arc::from(format!("{{\"sub\":\"{sub}\",\"n\":{n}}}")))
        };
        (0..7).for_each(|n| penalties.strike(1, &of("ann", n)));
        assert!(penalties.holds(1, &of("ann", 9)) && !penalties.holds(1, &of("bob", 1)));
    }
}
