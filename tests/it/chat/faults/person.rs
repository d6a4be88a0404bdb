//! A client as a good SDK is: one socket joined to all rooms, sends again with
//! the same id until it is acknowledged, and resumes after each break.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{
    Tally,
    view::{Row, View},
};
use crate::{
    rooms::User,
    support::{
        PATIENCE,
        client::{Client, Message},
        dice::Dice,
        server::exchange,
    },
};

/// Verbs under way at a time.
const WINDOW: usize = 3;

/// Between two attempts at anything.
const PAUSE: Duration = Duration::from_millis(30);

/// What everybody is to do.
#[derive(Debug, Clone)]
pub enum Orders {
    Talk,
    /// Nothing new, but what was begun.
    Finish,
    /// Wait until one has what the table has.
    Compare(Arc<HashMap<Uuid, BTreeMap<i64, Row>>>),
}

pub struct Person {
    user: User,
    writes: bool,
    /// Of all servers; any will do.
    addresses: Vec<String>,
    tally: Arc<Tally>,
    orders: watch::Receiver<Orders>,
    dice: Dice,
    rooms: Vec<Uuid>,
    views: HashMap<Uuid, View>,
    /// Verbs without an acknowledgement, in order.
    pending: Vec<Draft>,
    /// Nothing is sent before.
    patient_until: Instant,
    /// Each of its messages as last acknowledged.
    acknowledged: HashMap<Uuid, Row>,
    is_idle: bool,
}

struct Draft {
    room: Uuid,
    verb: &'static str,
    payload: Value,
    /// None until it is sent on this socket.
    reference: Option<Value>,
}

impl Person {
    pub fn new(
        user: User,
        writes: bool,
        addresses: Vec<String>,
        rooms: &[Uuid],
        tally: &Arc<Tally>,
        orders: &watch::Receiver<Orders>,
        dice: Dice,
    ) -> Self {
        Self {
            user,
            writes,
            addresses,
            tally: Arc::clone(tally),
            orders: orders.clone(),
            dice,
            rooms: rooms.to_vec(),
            views: rooms.iter().map(|room| (*room, View::new(!writes))).collect(),
            pending: Vec::new(),
            patient_until: Instant::now(),
            acknowledged: HashMap::new(),
            is_idle: !writes,
        }
    }

    /// Talks until everything is compared. Returns its own messages as they
    /// were last acknowledged.
    pub async fn run(mut self) -> HashMap<Uuid, Row> {
        loop {
            let servers = self.tally.servers.load(Ordering::SeqCst);
            if let Some(mut socket) = self.connect().await {
                if self.converse(&mut socket).await.is_some() {
                    return self.acknowledged;
                }
                count(&self.tally.losses);
                let killed = self.tally.servers.load(Ordering::SeqCst) - servers;
                // Which of several is never clear.
                let is_known = self.addresses.len() == 1;
                assert!(killed > 0 || !is_known, "a socket was closed though its server lives");
            }
            sleep(PAUSE).await;
        }
    }

    /// A socket that is joined to all rooms and has missed nothing.
    async fn connect(&mut self) -> Option<Client> {
        let address = self.address();
        let mut socket = Client::dial(&address, &self.user.token).await?;
        for room in self.rooms.clone() {
            self.view(room).begins();
            self.join(&mut socket, room).await?;
            // After the join: what commits from here on is pushed.
            let missed = self.missed(room).await;
            let new = self.view(room).resumed(&missed);
            self.tally.missed.fetch_add(new, Ordering::SeqCst);
        }
        // What was pushed meanwhile, now that its place is known.
        for message in std::mem::take(&mut socket.backlog) {
            self.hear(&message);
        }
        for draft in &mut self.pending {
            draft.reference = None;
        }
        Some(socket)
    }

    fn address(&mut self) -> String {
        self.addresses[self.dice.roll(self.addresses.len())].clone()
    }

    async fn join(&mut self, socket: &mut Client, room: Uuid) -> Option<()> {
        let config = json!({ "config": { "private": true, "broadcast": { "ack": true } } });
        loop {
            let reference = socket.try_push(&topic(room), "phx_join", config.clone()).await?;
            let reply = loop {
                let message = socket.read().await.ok()?;
                if message.reference == reference && message.event == "phx_reply" {
                    break message;
                }
                socket.backlog.push_back(message);
            };
            if reply.is_ok() {
                return Some(());
            }
            // The database is away, or the server stops and closes the socket soon.
            count(&self.tally.refused);
            sleep(PAUSE).await;
        }
    }

    async fn missed(&mut self, room: Uuid) -> Value {
        let View { seq, rev, .. } = *self.view(room);
        let path = format!("/chat/v1/rooms/{room}/resume?seq={seq}&rev={rev}");
        let bearer = format!("Bearer {}", self.user.token);
        loop {
            let headers = [("Authorization", &*bearer)];
            let address = self.address();
            match exchange(&address, "GET", &path, &headers, b"").await {
                Some(answer) if answer.status == 200 => {
                    // Cut short if the server is killed on the way.
                    if let Ok(missed) = serde_json::from_str(&answer.body) {
                        return missed;
                    }
                }
                Some(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Some when everything is compared, none when the socket is gone.
    async fn converse(&mut self, socket: &mut Client) -> Option<()> {
        let mut deadline = None;
        loop {
            self.speak(socket).await?;
            if let Orders::Compare(table) = &*self.orders.borrow() {
                let lacks = self.rooms.iter().find(|room| self.views[room].rows != table[room]);
                let Some(room) = lacks else { return Some(()) };
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                assert!(
                    Instant::now() < deadline,
                    "{}",
                    difference(&self.views[room].rows, &table[room])
                );
            }
            tokio::select! {
                message = socket.read() => self.hear(&message.ok()?),
                _ = self.orders.changed() => {}
                () = sleep_until(self.patient_until), if self.patient_until > Instant::now() => {}
                // Looks at the deadline from time to time.
                () = sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Sends what is to be sent. None when the socket is gone.
    async fn speak(&mut self, socket: &mut Client) -> Option<()> {
        if Instant::now() < self.patient_until {
            return Some(());
        }
        let may_talk = self.writes && matches!(*self.orders.borrow(), Orders::Talk);
        while may_talk && self.pending.len() < WINDOW {
            let room = self.rooms[self.dice.roll(self.rooms.len())];
            let id = Uuid::new_v4();
            let payload = json!({ "id": id, "content": format!("What {id} says.") });
            self.pending.push(Draft { room, verb: "send", payload, reference: None });
        }
        for draft in self.pending.iter_mut().filter(|draft| draft.reference.is_none()) {
            let event = format!("chat:{}", draft.verb);
            let event = json!({ "type": "broadcast", "event": event, "payload": draft.payload });
            draft.reference = Some(socket.try_push(&topic(draft.room), "broadcast", event).await?);
        }
        if !self.is_idle && !may_talk && self.pending.is_empty() {
            self.is_idle = true;
            count(&self.tally.idle);
        }
        Some(())
    }

    fn hear(&mut self, message: &Message) {
        match &*message.event {
            "phx_reply" => self.answered(message),
            "broadcast" => self.pushed(message),
            "presence_state" => {}
            _ => panic!("nobody should hear {message:?}"),
        }
    }

    fn answered(&mut self, message: &Message) {
        let is_it = |draft: &Draft| draft.reference.as_ref() == Some(&message.reference);
        let Some(at) = self.pending.iter().position(is_it) else { return };
        let response = &message.payload["response"];
        if !message.is_ok() {
            assert_eq!(response["code"], "unavailable", "{message:?}");
            count(&self.tally.unavailable);
            self.pending[at].reference = None;
            self.patient_until = Instant::now() + PAUSE;
            return;
        }
        let draft = self.pending.remove(at);
        let row = Row::of(response);
        if response["duplicate"] == true {
            count(&self.tally.duplicates);
        }
        self.view(draft.room).acknowledged(row.clone());
        let before = self.acknowledged.insert(row.id, row.clone());
        if draft.verb == "send" {
            assert_eq!(before, None);
            count(&self.tally.messages);
            self.think_again(draft.room, row.id);
        } else {
            assert_eq!(before.map(|row| (row.seq, row.version)), Some((row.seq, 1)));
            assert_eq!(row.version, 2, "changed once");
            count(&self.tally.changes);
        }
    }

    /// Now and then a message is changed once more.
    fn think_again(&mut self, room: Uuid, id: Uuid) {
        let (verb, payload) = match self.dice.roll(20) {
            0 => ("delete", json!({ "id": id, "version": 1 })),
            1..=3 => ("edit", json!({ "id": id, "version": 1, "content": format!("Or {id}?") })),
            _ => return,
        };
        self.pending.push(Draft { room, verb, payload, reference: None });
    }

    fn pushed(&mut self, message: &Message) {
        let event = message.payload["event"].as_str().unwrap();
        if !event.starts_with("chat:message") {
            if event == "chat:resync" {
                count(&self.tally.resyncs);
            }
            return;
        }
        let message_of = &message.payload["payload"]["message"];
        let room = message_of["room_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(message.topic, topic(room));
        if !self.view(room).pushed(event, message_of) {
            count(&self.tally.repeated);
        }
    }

    fn view(&mut self, room: Uuid) -> &mut View {
        self.views.get_mut(&room).unwrap()
    }
}

fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::SeqCst);
}

fn topic(room: Uuid) -> String {
    format!("realtime:room:{room}")
}

/// The first few things that somebody has and should not, or the other way round.
fn difference(has: &BTreeMap<i64, Row>, table: &BTreeMap<i64, Row>) -> String {
    let more = has.iter().filter(|(seq, row)| table.get(seq) != Some(row)).take(5);
    let less = table.iter().filter(|(seq, row)| has.get(seq) != Some(row)).take(5);
    format!("has {:#?} but the table {:#?}", more.collect::<Vec<_>>(), less.collect::<Vec<_>>())
}
