//! A channel's database subscriptions: asked for at the join, kept alive since.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    error_code::ErrorCode,
    postgres_changes::{
        Binding, PostgresChanges, Registration, Subscribe, SubscribeError, legacy_item,
        reply_entries,
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
    /// What is wrong with items that were left out; told once.
    problems: Vec<String>,
    /// An attempt is under way. Another waits for it: two at a time could both
    /// deliver, or neither. So there is never an old one to tell from a new one.
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
pub type Attempt = Result<Registration, SubscribeError>;

impl Changes {
    /// Reads what a join asks for. Also returns the list for its reply.
    /// Items beyond the engine's bound are not even read.
    pub fn of(join: &Join, topic: &Topic, engine: &PostgresChanges) -> (Self, String) {
        let legacy = join.is_legacy.then(|| legacy_item(topic.sub_topic()));
        let items: Vec<&str> = match &legacy {
            Some(item) => vec![item],
            None => join.changes.iter().map(|item| item.get()).collect(),
        };
        let reply = reply_entries(items.iter().copied());
        let legacy = join.is_legacy;
        if let Err(too_many) = engine.may_have(items.len()) {
            let wanted = Wanted::Refused(too_many);
            return (Self { wanted, legacy, ..Self::default() }, reply);
        }
        let (mut bindings, mut problems) = (Vec::new(), Vec::new());
        for item in &items {
            match Binding::parse(item) {
                Ok(binding) => bindings.push(binding),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let wanted = match problems.first() {
            Some(first) if !engine.keeps_partial() || bindings.is_empty() => {
                Wanted::Refused(first.clone())
            }
            _ if bindings.is_empty() => Wanted::Nothing,
            _ => Wanted::Bindings(bindings.into()),
        };
        (Self { wanted, legacy, problems, ..Self::default() }, reply)
    }
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
    let (topic, id) = (channel.key.topic.clone(), channel.id);
    tasks.push(Box::pin(async move {
        sleep(pause).await;
        let attempt = engine.subscribe(request).await;
        Done::Subscribed { topic, channel: id, attempt }
    }));
}

/// Takes the outcome of an attempt. Success was told by the engine already.
pub fn finish(context: &Context, channel: &mut Channel, tasks: &mut Tasks, attempt: Attempt) {
    channel.changes.is_trying = false;
    let is_outdated = std::mem::take(&mut channel.changes.is_outdated);
    match attempt {
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
