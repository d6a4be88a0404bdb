//! Who is online, and when others were last.
//!
//! A user is online while any of their channels is joined to a room, on any
//! server. Each server speaks for its own users and keeps what the others say
//! of theirs, so that it answers from memory and tells its own clients itself,
//! of whichever server a change is: no change is told twice, and none to the
//! clients of a server that knows better. Rooms are told in batches: a thousand
//! sockets that come and go at once are a few queries, and a socket that comes
//! right back is nothing at all.

mod link;
mod others;
mod table;
mod word;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use crate::{cluster::Bus, error_code::ErrorCode, hub::Interest, runtime::clock, tenants::Caller};

use super::{Chat, ChatError, Config, State, call::Function, push};

use self::{
    link::{Talk, now},
    table::{BATCH, Table, Told},
};

/// Between two looks for changes.
const TICK: Duration = Duration::from_millis(500);

/// Users asked about in one call.
const MOST_ASKED: usize = 100;

/// The statuses of a tenant's users, the same on all servers.
#[derive(Debug)]
pub struct Status {
    tenant: Arc<str>,
    bus: Option<Arc<dyn Bus>>,
    ttl: Duration,
    table: Mutex<Table>,
    talk: Mutex<Talk>,
    /// There is something to say or to answer.
    wake: Notify,
    /// Whether it is known what others knew at the start.
    whole: watch::Sender<bool>,
}

impl Status {
    /// Nobody is known yet. What comes over `bus` as [`Kind::Status`] is to be
    /// handed to it.
    ///
    /// [`Kind::Status`]: crate::cluster::envelope::Kind::Status
    pub fn new(config: &Config, tenant: Arc<str>, bus: Option<Arc<dyn Bus>>) -> Self {
        Self {
            tenant,
            bus,
            ttl: config.status_ttl,
            table: Mutex::new(Table::new(config.max_statuses)),
            talk: Mutex::default(),
            wake: Notify::new(),
            whole: watch::Sender::new(false),
        }
    }

    /// A channel of the user joined a room.
    pub(super) fn enter(&self, user: Uuid) {
        if self.lock().enter(user, now()) {
            self.wake.notify_one();
        }
    }

    /// A channel of the user left a room.
    pub(super) fn leave(&self, user: Uuid) {
        if self.lock().leave(user, now()) {
            self.wake.notify_one();
        }
    }

    fn of(&self, user: Uuid) -> Told {
        self.lock().shown(user)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.0.status.whole().await;
        let list: Vec<String> =
            shared.into_iter().map(|user| json_of(user, self.0.status.of(user))).collect();
        Ok(format!("[{}]", list.join(",")))
    }

    /// Tells rooms who came and who went, until the drain begins.
    pub(super) async fn announce_status(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_failing, mut is_behind) = (false, false);
        loop {
            tokio::select! {
                _ = ticks.tick(), if !is_behind => {}
                () = std::future::ready(()), if is_behind => {}
                () = self.0.drain.started() => return,
            }
            is_behind = false;
            match self.state() {
                State::On => {}
                State::Off => {
                    self.0.status.lock().forget_changes();
                    continue;
                }
                State::Unknown => continue,
            }
            let changes = self.0.status.lock().changes();
            // Rooms of others are told by their servers.
            if changes.is_empty() || self.0.joined.is_empty() {
                is_behind = changes.len() == BATCH;
                continue;
            }
            match Box::pin(self.rooms_of(&changes)).await {
                Ok(rooms) => {
                    (is_failing, is_behind) = (false, changes.len() == BATCH);
                    self.tell_status(&changes, &rooms);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            code = %ErrorCode::UnableToTrackPresence, %error,
                            "nobody is told yet who is online, trying again"
                        );
                    }
                    self.0.status.lock().untold(&changes);
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

    /// Says something in a room, on this server alone.
    fn say_here(&self, room: Uuid, event: &'static str, payload: String) {
        let message = push::fanout(event, payload.into());
        let told = self.0.hub.publish(&self.key(room), &message, Interest::BROADCAST, None);
        self.0.tenant.meters.events.record(told);
        self.0.series.pushed(event);
    }

    fn tell_status(&self, changes: &[(Uuid, Told)], rooms: &HashMap<Uuid, BTreeSet<Uuid>>) {
        for (user_id, rooms) in rooms {
            let Some((user, told)) = changes.iter().find(|(user, _)| user == user_id) else {
                continue;
            };
            let payload = json_of(*user, *told);
            for room in rooms.iter().filter(|room| self.0.joined.is_used(**room)) {
                self.say_here(*room, "chat:status", payload.clone());
            }
        }
    }
}

fn json_of(user: Uuid, Told { online, last_seen }: Told) -> String {
    let last_seen = last_seen.map_or_else(
        || "null".to_owned(),
        |moment| format!("\"{}+00:00\"", clock::iso8601(Duration::from_millis(moment))),
    );
    format!(r#"{{"user_id":"{user}","online":{online},"last_seen":{last_seen}}}"#)
}
