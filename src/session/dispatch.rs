//! What a socket does with a message: joins, leaves, and what handlers decide.
//!
//! Whatever needs PostgreSQL's answer first is asked by a task; messages for
//! that topic wait behind it, in order, and other topics go on.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    authorization::Rights,
    hub::ChannelId,
    protocol::{
        message::{Inbound, Payload, Ref},
        reply,
    },
    topic::{self, Topic},
};

use super::{
    channel::Step,
    handlers::{self, database::FromDatabase, postgres_changes::Attempt},
    join::{self, Candidate, Refused, Request},
    socket::Socket,
    tasks::{Answer, Done, Permitted},
    waiting::{Turn, unshared},
};

/// Refused joins whose answer is held back; more are answered at once.
const MAX_HELD_BACK: usize = 100;

/// Bytes of a refused topic that are logged: it may be anything.
const SHOWN: usize = 255;

impl Socket {
    pub(super) fn on_message(&mut self, message: Inbound) {
        if message.topic == topic::PHOENIX && message.event == "heartbeat" {
            let (vsn, null) = (self.context.vsn, Ref::NULL);
            let frame = reply::ok(vsn, &null, &message.reference, topic::PHOENIX, "{}");
            self.context.outbox.push(frame);
            return;
        }
        // What follows a question about a topic is answered after it, in order.
        let message = match self.waiting.take(message) {
            Turn::Now(message) => message,
            Turn::Later => return,
            Turn::Dropped => return self.note_dropped(),
        };
        match message.event.as_str() {
            "phx_join" if message.topic.starts_with(topic::PREFIX) => self.on_join(message),
            "phx_leave" => self.on_leave(&message),
            _ => self.on_channel_message(message),
        }
    }

    fn on_join(&mut self, message: Inbound) {
        let replaced = self.channels.remove(message.topic.as_str());
        let closing = replaced.map(|channel| {
            self.leave(&channel);
            channel.closed(self.context.vsn)
        });
        let Inbound { topic, join_ref, reference, payload, .. } = message;
        let request = Request { topic, join_ref, reference, closing };
        let joined = self.joined();
        match join::evaluate(&self.context, request, &payload, joined, &mut self.seat) {
            Ok(candidate) => self.consider(candidate),
            Err(refused) => self.refuse(*refused),
        }
        self.note_channels();
    }

    /// Its channels, and the topics of joins that wait to become one.
    fn joined(&self) -> usize {
        let joining = self.waiting.topics().filter(|topic| !self.channels.contains_key(*topic));
        self.channels.len() + joining.count()
    }

    /// Lets a candidate in, once it may and once other nodes know of the topic here.
    fn consider(&mut self, candidate: Candidate) {
        let key = candidate.key(&self.context);
        let (topic, services) = (key.topic.clone(), Arc::clone(&self.context.services));
        let shows_presence = candidate.wants_presence(&self.context);
        if let Some(caller) = candidate.caller(&self.context) {
            return self.ask(topic, async move {
                let read = services.policies.read(caller).await;
                if read.is_ok() {
                    services.hear_others(&key, services.hub.reach(&key), shows_presence).await;
                }
                Answer::Join(Box::new(candidate), read)
            });
        }
        let read = Ok(Rights { broadcast: true, presence: true });
        let reached = services.hub.reach(&key);
        if reached.is_some() || shows_presence && services.presence.must_gather(&key) {
            return self.ask(topic, async move {
                services.hear_others(&key, reached, shows_presence).await;
                Answer::Join(Box::new(candidate), read)
            });
        }
        self.admit(candidate, read);
    }

    fn admit(&mut self, candidate: Candidate, read: Permitted) {
        match candidate.admit(&self.context, read) {
            Ok(admitted) => {
                let channel = admitted.enter(&self.context, &mut self.tasks);
                self.channels.insert(channel.key.topic.clone(), channel);
            }
            Err(refused) => self.refuse(*refused),
        }
    }

    /// Tells a refused join so, after a pause that keeps eager clients off.
    /// Other topics do not wait.
    fn refuse(&mut self, refused: Refused) {
        let Refused { request, refusal } = refused;
        if self.joined() == 0 {
            self.seat = None;
        }
        if let Some(frame) = request.closing {
            self.context.outbox.push(frame);
        }
        self.context.services.metrics.refused(refusal.code);
        let shown = request.topic.floor_char_boundary(SHOWN);
        let topic = request.topic.get(..shown);
        let tenant = &*self.context.services.tenant.name;
        tracing::info!(code = %refusal.code, tenant, topic, "join refused");
        let reason = refusal.to_string();
        let (join_ref, reference) = (&request.join_ref, &request.reference);
        let frame = reply::refused(self.context.vsn, join_ref, reference, &request.topic, &reason);
        let close = refusal.close;
        let pause = match self.tasks.len() < MAX_HELD_BACK {
            true => self.context.services.config.channel_error_backoff,
            false => Duration::ZERO,
        };
        self.tasks.push(Box::pin(async move {
            sleep(pause).await;
            Done::Refused { frame, close }
        }));
    }

    /// Takes the outcome of an attempt to subscribe; its channel may have closed
    /// or been replaced meanwhile.
    pub(super) fn on_subscribed(&mut self, topic: &Topic, id: ChannelId, attempt: Attempt) {
        let Some(channel) = self.channels.get_mut(topic).filter(|channel| channel.id == id) else {
            return;
        };
        let tasks = &mut self.tasks;
        let ended = handlers::postgres_changes::finish(&self.context, channel, tasks, attempt);
        if let Some(refused) = ended {
            self.drop_channel(topic.as_str());
            self.refuse(refused);
        }
    }

    /// Asks the policies; messages for the topic wait until they answer.
    fn ask(&mut self, topic: Topic, question: impl Future<Output = Answer> + Send + 'static) {
        self.waiting.begin(topic.clone());
        self.tasks.push(Box::pin(async move {
            let answer = question.await;
            Done::Answered { topic, answer }
        }));
    }

    pub(super) fn on_answer(&mut self, topic: &Topic, answer: Answer) {
        if answer.finds_no_partition() {
            self.context.services.messages.janitor.partition_is_missing();
        }
        let queue = self.waiting.end(topic);
        match answer {
            Answer::Join(candidate, read) => self.admit(*candidate, read),
            Answer::Write(id, message, write) => {
                // Without an answer this message may not be sent; the next one asks again.
                let again = matches!(&write, Err(error) if error.is_transient());
                if let Some(channel) = self.channels.get_mut(topic).filter(|c| c.id == id) {
                    channel.permissions.write = Some(write.unwrap_or_default());
                }
                self.on_message(*message);
                if let Some(channel) = self.channels.get_mut(topic).filter(|c| again && c.id == id)
                {
                    channel.permissions.write = None;
                }
            }
            Answer::Read(id, token, read) => {
                if let Some(channel) = self.channels.get_mut(topic).filter(|c| c.id == id) {
                    let tasks = &mut self.tasks;
                    let step =
                        handlers::access_token::permit(&self.context, channel, tasks, token, read);
                    self.take_step(topic.as_str(), step, None);
                }
            }
        }
        for message in queue {
            self.on_message(message);
        }
        self.note_channels();
    }

    fn on_leave(&mut self, message: &Inbound) {
        let vsn = self.context.vsn;
        let Some(channel) = self.channels.get(message.topic.as_str()) else {
            // Leaving what is not joined succeeds.
            let (join_ref, reference) = (&message.join_ref, &message.reference);
            let frame = reply::ok(vsn, join_ref, reference, &message.topic, "{}");
            self.context.outbox.push(frame);
            return;
        };
        // A leave for an older instance of the topic must not end this one.
        if !channel.join_ref.is_null() && channel.join_ref != message.join_ref {
            return;
        }
        self.context.outbox.push(channel.ok(vsn, &message.reference));
        self.context.outbox.push(channel.closed(vsn));
        self.drop_channel(&message.topic);
    }

    fn on_channel_message(&mut self, message: Inbound) {
        let context = &self.context;
        let Some(channel) = self.channels.get_mut(message.topic.as_str()) else {
            let (null, reference) = (Ref::NULL, &message.reference);
            let reason = "unmatched topic";
            let frame = reply::refused(context.vsn, &null, reference, &message.topic, reason);
            context.outbox.push(frame);
            return;
        };
        let reference = &message.reference;
        let step = match (message.event.as_str(), &message.payload) {
            ("broadcast", _) => {
                handlers::broadcast::handle(context, channel, &mut self.tasks, &message)
            }
            ("presence", Payload::Json(json)) => {
                handlers::presence::handle(context, channel, reference, json)
            }
            ("access_token", Payload::Json(json)) => {
                handlers::access_token::handle(context, channel, &mut self.tasks, json)
            }
            _ => {
                context.services.tenant.meters.events.record(1);
                Step::Stay
            }
        };
        let topic = message.topic.clone();
        self.take_step(&topic, step, Some(message));
    }

    /// Does what a handler decided; `message` is what it was handling.
    fn take_step(&mut self, topic: &str, step: Step, message: Option<Inbound>) {
        match step {
            Step::Stay => {}
            Step::Shutdown(reason) => self.shut_down(topic, &reason),
            Step::Storing(task) => {
                let (Some(channel), Some(message)) = (self.channels.get(topic), message) else {
                    return;
                };
                if !self.waiting.begin_with(channel.key.topic.clone(), &message) {
                    return self.note_dropped();
                }
                self.tasks.push(task.0);
            }
            Step::AskWrite => {
                let (Some(channel), Some(message)) = (self.channels.get(topic), message) else {
                    return;
                };
                let (id, name) = (channel.id, channel.key.topic.clone());
                if !self.waiting.begin_with(name.clone(), &message) {
                    return self.note_dropped();
                }
                let message = Box::new(unshared(message));
                let caller = self.context.caller(&name, &channel.claims);
                let policies = self.context.services.policies.clone();
                self.ask(
                    name,
                    async move { Answer::Write(id, message, policies.write(caller).await) },
                );
            }
            Step::AskRead { token, claims, ticket } => {
                let Some(channel) = self.channels.get(topic) else { return };
                let (id, name) = (channel.id, channel.key.topic.clone());
                let caller = self.context.caller(&name, &claims);
                let policies = self.context.services.policies.clone();
                self.ask(name, async move {
                    Answer::Read(id, (token, claims, ticket), policies.read(caller).await)
                });
            }
        }
        self.note_channels();
    }

    fn note_dropped(&self) {
        self.context.services.metrics.dropped.inc();
        tracing::debug!("message dropped: too many wait for the database");
    }

    pub(super) fn on_database(&mut self, topic: &Topic, id: ChannelId, result: FromDatabase) {
        let waited = match &result {
            FromDatabase::Stored(..) => self.waiting.end(topic),
            FromDatabase::Chat(outcome) if outcome.is_waited_for => self.waiting.end(topic),
            FromDatabase::Replayed(_) | FromDatabase::Ready(_) | FromDatabase::Chat(_) => {
                VecDeque::new()
            }
        };
        self.take_from_database(topic, id, result);
        for message in waited {
            self.on_message(message);
        }
    }

    fn take_from_database(&mut self, topic: &Topic, id: ChannelId, result: FromDatabase) {
        let Some(channel) = self.channels.get(topic).filter(|channel| channel.id == id) else {
            return;
        };
        match result {
            FromDatabase::Replayed(stored) => {
                if !handlers::database::replayed(&self.context, channel, stored) {
                    self.context.outbox.push(channel.crashed(self.context.vsn));
                    self.drop_channel(topic.as_str());
                }
            }
            FromDatabase::Ready(true) => handlers::database::ready(&self.context, channel),
            FromDatabase::Ready(false) => {
                self.shut_down(topic.as_str(), handlers::database::NOT_READY);
            }
            FromDatabase::Stored(reference, result) => {
                handlers::database::stored(&self.context, channel, &reference, result);
            }
            FromDatabase::Chat(outcome) => {
                handlers::chat::finish(&self.context, channel, &outcome);
            }
        }
    }
}
