//! Who is online, and when others were last.
//!
//! A user is online while any of their channels is joined to a room. The store
//! keeps a sign of life with a time to live, refreshed twice within it, so that
//! it may one day be shared by several servers. Changes are gathered for a
//! moment and told in batches: a thousand sockets that come and go at once are
//! a few queries, and a socket that comes right back is nothing at all.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{runtime::clock, tenants::Caller};

use super::{Chat, ChatError, Config, State, call::Function};

/// Between two batches of changes.
const TICK: Duration = Duration::from_millis(500);

/// Changes told in one batch.
const BATCH: usize = 200;

/// Users asked about in one call.
const MOST_ASKED: usize = 100;

/// Statuses of users.
#[derive(Debug)]
pub(super) struct Status {
    inner: Mutex<Users>,
    ttl: Duration,
    most: usize,
}

#[derive(Debug, Default)]
struct Users {
    /// Channels of users who are here.
    here: HashMap<Uuid, usize>,
    signs: HashMap<Uuid, Sign>,
    /// Those whose status may have changed since it was told.
    changed: HashSet<Uuid>,
}

/// The last sign of a user's life.
#[derive(Debug, Clone, Copy)]
struct Sign {
    expires: Instant,
    /// Since 1970.
    at: Duration,
    /// What was told of the user last.
    told_online: bool,
}

/// A user's status as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    online: bool,
    last_seen: Option<Duration>,
}

impl Status {
    pub(super) fn new(config: &Config) -> Self {
        Self { inner: Mutex::default(), ttl: config.status_ttl, most: config.max_statuses }
    }

    /// A channel of the user joined a room.
    pub(super) fn enter(&self, user: Uuid) {
        let mut users = self.lock();
        *users.here.entry(user).or_default() += 1;
        self.touch(&mut users, user);
        users.note(user);
    }

    /// A channel of the user left a room.
    pub(super) fn leave(&self, user: Uuid) {
        let mut users = self.lock();
        let Some(channels) = users.here.get_mut(&user) else { return };
        *channels -= 1;
        if *channels == 0 {
            users.here.remove(&user);
            self.touch(&mut users, user);
            users.note(user);
        }
    }

    fn touch(&self, users: &mut Users, user: Uuid) {
        let now = Instant::now();
        let is_full = users.signs.len() >= self.most && !users.signs.contains_key(&user);
        // With everybody here there is nobody to forget, and looking costs.
        if is_full && users.here.len() < self.most {
            users.forget(now);
        }
        if users.signs.len() >= self.most && !users.signs.contains_key(&user) {
            return;
        }
        let fresh = Sign { expires: now, at: Duration::ZERO, told_online: false };
        let sign = users.signs.entry(user).or_insert(fresh);
        (sign.expires, sign.at) = (now + self.ttl, clock::unix_time());
    }

    /// Signs of life of everybody who is here.
    fn refresh(&self) {
        let mut users = self.lock();
        let here: Vec<Uuid> = users.here.keys().copied().collect();
        for user in here {
            self.touch(&mut users, user);
        }
    }

    fn of(&self, user: Uuid) -> Told {
        self.lock().status(user, Instant::now())
    }

    /// Some users whose status is another than was told, and which it is now.
    fn changes(&self) -> Vec<(Uuid, Told)> {
        let now = Instant::now();
        let mut users = self.lock();
        let some: Vec<Uuid> = users.changed.iter().take(BATCH).copied().collect();
        let mut changes = Vec::new();
        for user in some {
            users.changed.remove(&user);
            let status = users.status(user, now);
            let Some(sign) = users.signs.get_mut(&user) else { continue };
            if sign.told_online != status.online {
                sign.told_online = status.online;
                changes.push((user, status));
            }
        }
        changes
    }

    /// What was taken by [`Self::changes`] could not be told.
    fn untold(&self, changes: &[(Uuid, Told)]) {
        let mut users = self.lock();
        for (user, told) in changes {
            if let Some(sign) = users.signs.get_mut(user) {
                sign.told_online = !told.online;
            }
            users.note(*user);
        }
    }

    /// Nobody is told anything.
    fn forget_changes(&self) {
        self.lock().changed.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Users> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    fn status(&self, user: Uuid, now: Instant) -> Told {
        let sign = self.signs.get(&user);
        let online = self.here.contains_key(&user) && sign.is_some_and(|sign| sign.expires > now);
        Told { online, last_seen: sign.map(|sign| sign.at) }
    }

    /// Only of users with a sign, whose number is bounded.
    fn note(&mut self, user: Uuid) {
        if self.signs.contains_key(&user) {
            self.changed.insert(user);
        }
    }

    /// Makes room: half of those who are not here, the longest gone first.
    fn forget(&mut self, now: Instant) {
        let mut gone: Vec<(Duration, Uuid)> = self
            .signs
            .iter()
            .filter(|(user, _)| !self.here.contains_key(*user) && !self.changed.contains(*user))
            .map(|(user, sign)| (now.saturating_duration_since(sign.expires), *user))
            .collect();
        gone.sort_unstable();
        for (_, user) in gone.iter().rev().take(gone.len().div_ceil(2)) {
            self.signs.remove(user);
        }
    }
}

#[derive(Deserialize)]
struct Rooms {
    user_id: Uuid,
    rooms: Vec<Uuid>,
}

impl Chat {
    /// The status of those among `users` who share a room with the caller, JSON
    /// text: `[{user_id, online, last_seen}]`.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn statuses(&self, caller: Caller<'_>, users: &[Uuid]) -> Result<String, ChatError> {
        if users.len() > MOST_ASKED {
            let text = format!("At most {MOST_ASKED} users can be asked about at a time.");
            return Err(ChatError::bad_request(text));
        }
        let function = Function::new("shared_users").uuids(users);
        self.require()?;
        let sql = function.sql();
        let lists = Box::pin(self.ask_all_as(caller, &sql)).await?;
        let shared: BTreeSet<Uuid> = lists
            .iter()
            .filter_map(|json| serde_json::from_str::<Vec<Uuid>>(json).ok())
            .flatten()
            .collect();
        let list: Vec<String> =
            shared.into_iter().map(|user| json_of(user, self.0.status.of(user))).collect();
        Ok(format!("[{}]", list.join(",")))
    }

    /// Tells rooms who came and who went, until the drain begins.
    pub(super) async fn announce_status(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut refreshed, mut is_failing) = (Instant::now(), false);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.drain.started() => return,
            }
            if refreshed.elapsed() >= self.0.status.ttl / 2 {
                refreshed = Instant::now();
                self.0.status.refresh();
            }
            match self.state() {
                State::On => {}
                State::Off => {
                    self.0.status.forget_changes();
                    continue;
                }
                State::Unknown => continue,
            }
            let changes = self.0.status.changes();
            if changes.is_empty() {
                continue;
            }
            match Box::pin(self.rooms_of(&changes)).await {
                Ok(rooms) => {
                    is_failing = false;
                    self.tell_status(&changes, &rooms);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "nobody is told yet who is online, trying again");
                    }
                    self.0.status.untold(&changes);
                }
            }
        }
    }

    async fn rooms_of(
        &self,
        changes: &[(Uuid, Told)],
    ) -> Result<HashMap<Uuid, BTreeSet<Uuid>>, ChatError> {
        let ids: Vec<String> = changes.iter().map(|(user, _)| user.to_string()).collect();
        let query = format!(
            "select jsonb_build_object('user_id', u, 'rooms', chat.rooms_of(u))::text \
             from unnest('{{{}}}'::uuid[]) u",
            ids.join(",")
        );
        let rows = Box::pin(self.ask_all(&query)).await?;
        let mut all: HashMap<Uuid, BTreeSet<Uuid>> = HashMap::new();
        for row in &rows {
            let Ok(Rooms { user_id, rooms }) = serde_json::from_str(row) else { continue };
            all.entry(user_id).or_default().extend(rooms);
        }
        Ok(all)
    }

    fn tell_status(&self, changes: &[(Uuid, Told)], rooms: &HashMap<Uuid, BTreeSet<Uuid>>) {
        for (user_id, rooms) in rooms {
            let Some((user, told)) = changes.iter().find(|(user, _)| user == user_id) else {
                continue;
            };
            let payload = json_of(*user, *told);
            for room in rooms.iter().filter(|room| self.0.joined.is_used(**room)) {
                self.say(*room, "chat:status", payload.clone(), None);
            }
        }
    }
}

fn json_of(user: Uuid, Told { online, last_seen }: Told) -> String {
    let last_seen = last_seen.map_or_else(
        || "null".to_owned(),
        |moment| format!("\"{}+00:00\"", clock::iso8601(moment)),
    );
    format!(r#"{{"user_id":"{user}","online":{online},"last_seen":{last_seen}}}"#)
}
