//! Receipts: how far members have come, gathered and written in batches.
//!
//! A client says `delivered` and `read` for every few messages it shows, and a
//! room has many clients. So what one member says in one room within a short
//! window is one statement, whose answer goes to all who said something. At a
//! disconnect and at the end of the server the window ends at once.
//!
//! Invariants: at most one window per member and room; a bounded number of
//! windows and of waiters in each; few connections at a time, since receipts
//! may wait and messages may not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::timeout,
};
use uuid::Uuid;

use crate::{auth::Claims, hub::Subscriber, secret::Secret, tenants::Caller, topic::Topic};

use super::{Chat, ChatError, Config, Mark, call::Function, push, user};

/// Who may wait for one window's answer.
const MOST_WAITERS: usize = 100;

/// Connections that receipts may use at a time.
const CONNECTIONS: usize = 2;

/// Windows under way.
#[derive(Debug)]
pub(super) struct Receipts {
    windows: Mutex<HashMap<(Uuid, Uuid), Window>>,
    turns: Arc<Semaphore>,
    most: usize,
}

#[derive(Debug)]
struct Window {
    mark: Mark,
    marker: Marker,
    /// Channels that do not want their own receipts back.
    own: Vec<Arc<Subscriber>>,
    waiters: Vec<oneshot::Sender<Answer>>,
    over: Arc<Notify>,
}

/// Who says how far a member has come.
#[derive(Debug, Clone)]
pub struct Marker {
    /// The member's token.
    pub claims: Claims,
    /// The request's headers as a JSON object.
    pub headers: Secret,
}

/// JSON text of the cursors as they are now.
type Answer = Result<Arc<str>, ChatError>;

#[derive(Deserialize)]
struct Cursors {
    delivered_seq: i64,
    read_seq: i64,
}

impl Receipts {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            windows: Mutex::default(),
            turns: Arc::new(Semaphore::new(CONNECTIONS)),
            most: config.max_receipts,
        }
    }

    /// Ends the window of a member who goes.
    pub(super) fn hurry(&self, room: Uuid, user: Uuid) {
        if let Some(window) = self.lock().get(&(room, user)) {
            window.over.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, Uuid), Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chat {
    /// Notes how far a member has come. The answer comes when it has committed:
    /// JSON text of the cursors. `own` does not want the push of it.
    ///
    /// # Errors
    ///
    /// [`ChatError`], from the answer or at once if too much is waiting.
    pub fn mark(
        &self,
        room: Uuid,
        mark: Mark,
        marker: Marker,
        own: Option<Arc<Subscriber>>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let answer = self.note(room, mark, marker, own);
        async move { answer?.await.unwrap_or_else(|_| Err(ChatError::unavailable())) }
    }

    fn note(
        &self,
        room: Uuid,
        mark: Mark,
        marker: Marker,
        own: Option<Arc<Subscriber>>,
    ) -> Result<oneshot::Receiver<Answer>, ChatError> {
        let user = user(&marker.claims).ok_or_else(ChatError::not_a_member)?;
        self.require()?;
        let receipts = &self.0.receipts;
        let mut windows = receipts.lock();
        let is_full = windows.len() >= receipts.most;
        let (sender, answer) = oneshot::channel();
        match windows.get_mut(&(room, user)) {
            Some(window) if window.waiters.len() >= MOST_WAITERS => {
                return Err(ChatError::rate_limited());
            }
            Some(window) => window.join(mark, marker, own, sender),
            None if is_full => return Err(ChatError::rate_limited()),
            None => {
                let over = Arc::new(Notify::new());
                let own = own.into_iter().collect();
                let waiters = vec![sender];
                let window = Window { mark, marker, own, waiters, over: Arc::clone(&over) };
                windows.insert((room, user), window);
                let chat = self.clone();
                let gather = async move {
                    // Either way: time is up, the member goes, or the server does.
                    tokio::select! {
                        _ = timeout(chat.0.config.receipts_window, over.notified()) => {}
                        () = chat.0.drain.started() => {}
                    }
                    chat.write(room, user).await;
                };
                self.0.drain.spawn("chat receipts", gather);
            }
        }
        Ok(answer)
    }

    async fn write(&self, room: Uuid, user: Uuid) {
        let turn = Arc::clone(&self.0.receipts.turns).acquire_owned().await;
        // What came while it waited for its turn is in the window as well.
        let Some(window) = self.0.receipts.lock().remove(&(room, user)) else { return };
        let Mark { delivered, read } = window.mark;
        let ids = [
            (delivered, push::delivered(room, user, delivered)),
            (read, push::read(room, user, read)),
        ];
        for (_, id) in ids.iter().filter(|(seq, _)| *seq > 0) {
            for own in &window.own {
                own.seen.will_store(*id);
            }
        }
        let topic = Topic::of_room(room);
        let Marker { claims, headers } = &window.marker;
        let caller = Caller { topic: topic.sub_topic(), claims, headers };
        let said = |seq: i64| (seq > 0).then_some(seq);
        let function = Function::new("mark")
            .uuid(room)
            .optional(said(delivered))
            .optional(said(read))
            .number(self.0.config.receipts_room_size);
        let answer = Box::pin(self.call(caller, room, &function)).await.map(Arc::<str>::from);
        drop(turn);
        self.0.series.verb("mark", answer.as_ref().err());
        let now = answer.as_ref().ok().and_then(|json| serde_json::from_str::<Cursors>(json).ok());
        let reached = now.map_or([-1, -1], |now| [now.delivered_seq, now.read_seq]);
        for ((seq, id), reached) in ids.into_iter().zip(reached) {
            // A cursor that is elsewhere never comes by: nothing is to be skipped.
            if seq != reached {
                for own in &window.own {
                    own.seen.did_not_store(id);
                }
            }
        }
        for waiter in window.waiters {
            // Whoever went away does not want to know.
            let _ = waiter.send(answer.clone());
        }
    }
}

impl Window {
    fn join(
        &mut self,
        mark: Mark,
        marker: Marker,
        own: Option<Arc<Subscriber>>,
        waiter: oneshot::Sender<Answer>,
    ) {
        self.mark.delivered = self.mark.delivered.max(mark.delivered);
        self.mark.read = self.mark.read.max(mark.read);
        self.marker = marker;
        self.waiters.push(waiter);
        if let Some(own) = own
            && self.own.iter().all(|known| known.id != own.id)
        {
            self.own.push(own);
        }
    }
}
