//! A channel's database subscriptions: asked for at the join, kept alive since.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

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
        entrance::{Entrance, Held},
        join::Refused,
        refusal::Refusal,
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
    /// The join, while its reply waits for the changes.
    held: Option<Box<Held>>,
    /// Ends the attempt under way when dropped: a channel that is gone is told nothing.
    interest: Option<oneshot::Sender<()>>,
}

/// Between attempts.
const RETRY: Duration = Duration::from_secs(5);

/// Between attempts that a join waits for.
const HELD_RETRY: Duration = Duration::from_millis(500);

/// Why items that make no sense are refused.
const REFUSED: ErrorCode = ErrorCode::RealtimeDisabledForConfiguration;

#[derive(Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    Bindings(Arc<[Binding]>),
    /// At least one item makes no sense; the client is told this.
    Refused(String),
}

/// The outcome of one attempt.
pub type Attempt = Result<Registration, Failure>;

/// Why an attempt came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// There is no subscription.
    Engine(SubscribeError),
    /// The join waits no longer.
    Late,
    /// The channel is gone.
    Abandoned,
}

impl Changes {
    /// Reads what a join asks for. Also returns the list for its reply.
    /// The reply echoes all items; more than the engine takes are not compiled.
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

    /// False if the join asked for none.
    pub fn are_wanted(&self) -> bool {
        !matches!(self.wanted, Wanted::Nothing)
    }

    /// Keeps the join's reply until the changes are live, `limit` from now at most.
    pub fn hold(&mut self, entrance: Entrance, limit: Duration) {
        self.held = Some(Box::new(Held { entrance, limit, until: Instant::now() + limit }));
    }

    /// Ends the attempt under way, if there is one: nobody will be here to see changes.
    pub fn give_up(&mut self) {
        self.interest = None;
    }

    fn refuse(&mut self, code: ErrorCode, message: String) -> Option<Refused> {
        let request = self.held.take()?.entrance.request;
        Some(Refused { request, refusal: Refusal::new(code, message) })
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
    let (topic, id) = (channel.key.topic.clone(), channel.id);
    let bindings = match &channel.changes.wanted {
        Wanted::Nothing => return,
        Wanted::Bindings(bindings) => Arc::clone(bindings),
        Wanted::Refused(message) if channel.changes.held.is_some() => {
            let error = SubscribeError { code: REFUSED, message: message.clone(), retry: false };
            tasks.push(Box::pin(async move {
                Done::Subscribed { topic, channel: id, attempt: Err(Failure::Engine(error)) }
            }));
            return;
        }
        Wanted::Refused(message) => {
            context.services.metrics.error(REFUSED);
            tracing::debug!(code = %REFUSED, "subscription refused");
            tell(context, channel, Status::Error, message);
            return;
        }
    };
    let who = Extension::PostgresChanges;
    let live = channel.system(context.vsn, who, Status::Ok, "Subscribed to PostgreSQL");
    let held = channel.changes.held.as_ref();
    let first = held.map(|held| held.entrance.frames(context)).unwrap_or_default();
    let request = Subscribe {
        topic: topic.clone(),
        vsn: context.vsn,
        legacy: channel.changes.legacy,
        bindings,
        role: Arc::clone(channel.claims.role()),
        claims: Arc::clone(channel.claims.json()),
        outbox: Arc::clone(&context.outbox),
        // Queued by the engine itself, so that no change comes before it.
        ready: first.into_iter().chain([live]).collect(),
        replaces: channel.changes.registration.as_ref().map(Registration::place),
    };
    let until = held.map(|held| held.until);
    let (interest, mut gone) = oneshot::channel();
    channel.changes.interest = Some(interest);
    channel.changes.is_trying = true;
    channel.changes.is_outdated = false;
    let engine = context.services.changes.clone();
    tasks.push(Box::pin(async move {
        let attempt = async {
            sleep(pause).await;
            engine.subscribe(request).await.map_err(Failure::Engine)
        };
        let attempt = async {
            match until {
                Some(until) => timeout_at(until, attempt).await.unwrap_or(Err(Failure::Late)),
                None => attempt.await,
            }
        };
        let attempt = tokio::select! {
            biased;
            _ = &mut gone => Err(Failure::Abandoned),
            attempt = attempt => attempt,
        };
        Done::Subscribed { topic, channel: id, attempt }
    }));
}

/// Takes the outcome of an attempt. Success was told by the engine already.
/// Says so if that was the end of the join that waited for it.
pub fn finish(
    context: &Context,
    channel: &mut Channel,
    tasks: &mut Tasks,
    attempt: Attempt,
) -> Option<Refused> {
    channel.changes.is_trying = false;
    let is_outdated = std::mem::take(&mut channel.changes.is_outdated);
    match attempt {
        Ok(registration) => {
            let mut problems = std::mem::take(&mut channel.changes.problems);
            problems.extend_from_slice(registration.problems());
            // The old one, if any, has left as this one entered.
            channel.changes.registration = Some(registration);
            if let Some(held) = channel.changes.held.take() {
                held.entrance.open(context, channel, tasks);
            }
            for problem in &problems {
                tell(context, channel, Status::Error, problem);
            }
        }
        Err(Failure::Abandoned) => return None,
        Err(Failure::Late) => {
            let limit = channel.changes.held.as_ref().map_or(0, |held| held.limit.as_millis());
            let code = ErrorCode::PostgresChangesSubscribeTimeout;
            let message =
                format!("Timed out after {limit}ms waiting for the postgres_changes subscription");
            return channel.changes.refuse(code, message);
        }
        Err(Failure::Engine(_)) if is_outdated => {}
        Err(Failure::Engine(error)) if channel.changes.held.is_some() => {
            if !error.retry {
                return channel.changes.refuse(error.code, error.message);
            }
            subscribe_after(context, channel, tasks, HELD_RETRY);
        }
        Err(Failure::Engine(error)) => {
            channel.changes.registration = None;
            context.services.metrics.error(error.code);
            tracing::info!(code = %error.code, retry = error.retry, "subscription failed");
            tell(context, channel, Status::Error, &error.message);
            if error.retry {
                subscribe_after(context, channel, tasks, RETRY);
            }
        }
    }
    if is_outdated {
        subscribe(context, channel, tasks);
    }
    None
}

fn tell(context: &Context, channel: &Channel, status: Status, message: &str) {
    let who = Extension::PostgresChanges;
    context.outbox.push(channel.system(context.vsn, who, status, message));
}
