//! A channel's database subscriptions: asked for at the join, kept alive since.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    error_code::ErrorCode,
    postgres_changes::{
        Binding, Registration, Subscribe, SubscribeError, legacy_item, reply_entries,
    },
    protocol::{
        join::Join,
        system::{Extension, Status},
    },
    session::{
        channel::Channel,
        context::Context,
        tasks::{Done, Tasks},
    },
    topic::Topic,
};

/// What a channel asked for and what it has got.
#[derive(Debug, Default)]
pub struct Changes {
    /// What the join asked for; empty if nothing.
    wanted: Wanted,
    legacy: bool,
    /// Counts attempts, so that the result of an old one is recognized.
    attempt: u32,
    /// What is wrong with items that were left out; told once.
    problems: Vec<String>,
    /// An attempt is under way. Another waits for it: two at a time could both
    /// deliver, or neither.
    is_trying: bool,
    /// The token changed meanwhile.
    is_outdated: bool,
    /// Ends the subscription when dropped.
    registration: Option<Registration>,
}

#[derive(Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    Bindings(Arc<[Binding]>),
    /// At least one item makes no sense; the client is told this.
    Refused(String),
}

/// The outcome of one attempt.
#[derive(Debug)]
pub struct Attempt {
    number: u32,
    result: Result<Registration, SubscribeError>,
}

impl Changes {
    /// Reads what a join asks for. Also returns the list for its reply.
    /// `partial` keeps the good items where others are bad.
    pub fn of(join: &Join, topic: &Topic, partial: bool) -> (Self, String) {
        let legacy = join.is_legacy.then(|| legacy_item(topic.sub_topic()));
        let items: Vec<&str> = match &legacy {
            Some(item) => vec![item],
            None => join.changes.iter().map(|item| item.get()).collect(),
        };
        let (mut bindings, mut problems) = (Vec::new(), Vec::new());
        for item in &items {
            match Binding::parse(item) {
                Ok(binding) => bindings.push(binding),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let wanted = match problems.first() {
            Some(first) if !partial || bindings.is_empty() => Wanted::Refused(first.clone()),
            _ if bindings.is_empty() => Wanted::Nothing,
            _ => Wanted::Bindings(bindings.into()),
        };
        let legacy = join.is_legacy;
        (Self { wanted, legacy, problems, ..Self::default() }, reply(&items))
    }
}

fn reply(items: &[&str]) -> String {
    reply_entries(items.iter().copied())
}

/// Starts an attempt to subscribe with the channel's token as it is now.
/// The outcome comes back as an event.
pub fn subscribe(context: &Context, channel: &mut Channel, tasks: &mut Tasks) {
    subscribe_after(context, channel, tasks, Duration::ZERO);
}

fn subscribe_after(context: &Context, channel: &mut Channel, tasks: &mut Tasks, pause: Duration) {
    if channel.changes.is_trying {
        channel.changes.is_outdated = true;
        return;
    }
    channel.changes.attempt += 1;
    let bindings = match &channel.changes.wanted {
        Wanted::Nothing => return,
        Wanted::Bindings(bindings) => Arc::clone(bindings),
        Wanted::Refused(message) => {
            tracing::debug!(code = %ErrorCode::RealtimeDisabledForConfiguration, "subscription refused");
            let (who, status) = (Extension::PostgresChanges, Status::Error);
            context.outbox.push(channel.system(context.vsn, who, status, message));
            return;
        }
    };
    let request = Subscribe {
        topic: channel.key.topic.clone(),
        vsn: context.vsn,
        legacy: channel.changes.legacy,
        bindings,
        role: Arc::clone(channel.claims.role()),
        claims: Arc::clone(channel.claims.json()),
        outbox: Arc::clone(&context.outbox),
        // Queued by the engine itself, so that no change comes before it.
        ready: vec![channel.system(
            context.vsn,
            Extension::PostgresChanges,
            Status::Ok,
            "Subscribed to PostgreSQL",
        )],
        replaces: channel.changes.registration.as_ref().map(Registration::place),
    };
    channel.changes.is_trying = true;
    channel.changes.is_outdated = false;
    let engine = context.services.changes.clone();
    let (topic, id, number) = (channel.key.topic.clone(), channel.id, channel.changes.attempt);
    tasks.push(Box::pin(async move {
        sleep(pause).await;
        let result = engine.subscribe(request).await;
        Done::Subscribed { topic, channel: id, attempt: Attempt { number, result } }
    }));
}

/// Takes the outcome of an attempt. Success was told by the engine already.
pub fn finish(context: &Context, channel: &mut Channel, tasks: &mut Tasks, attempt: Attempt) {
    if attempt.number != channel.changes.attempt {
        return;
    }
    channel.changes.is_trying = false;
    let is_outdated = std::mem::take(&mut channel.changes.is_outdated);
    match attempt.result {
        Ok(registration) => {
            let mut problems = std::mem::take(&mut channel.changes.problems);
            problems.extend_from_slice(registration.problems());
            for problem in &problems {
                let (who, status) = (Extension::PostgresChanges, Status::Error);
                context.outbox.push(channel.system(context.vsn, who, status, problem));
            }
            // The old one, if any, has left as this one entered.
            channel.changes.registration = Some(registration);
        }
        Err(_) if is_outdated => {}
        Err(error) => {
            channel.changes.registration = None;
            context.services.metrics.error(ErrorCode::UnableToSubscribeToPostgres);
            tracing::info!(code = %ErrorCode::UnableToSubscribeToPostgres, retry = error.retry, "subscription failed");
            let (who, status) = (Extension::PostgresChanges, Status::Error);
            context.outbox.push(channel.system(context.vsn, who, status, &error.message));
            if error.retry {
                subscribe_after(context, channel, tasks, Duration::from_secs(5));
            }
        }
    }
    if is_outdated {
        subscribe(context, channel, tasks);
    }
}
