//! The connections of one time that the bus is up: to each master one that
//! sends and one that listens.
//!
//! In a Redis Cluster a topic is a sharded channel of the master that has its
//! slot. A slot that moves to another of these masters is followed without
//! losing the others; whatever else changes ends the link, and the next one
//! looks anew.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{select_all, try_join_all};
use redis::{
    Cmd, ConnectionInfo, Pipeline, PushInfo, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    moves::{Moves, Said, confirms, out_of_step},
    servers::{Servers, fault},
    slots::{Map, slot},
};

/// What is connected.
pub(super) struct Link {
    nodes: Vec<Node>,
    /// Which of them has which slot; none if there is one, who has all.
    map: Option<Mutex<Map>>,
    moves: Arc<Moves>,
}

struct Node {
    info: ConnectionInfo,
    sender: MultiplexedConnection,
    listener: MultiplexedConnection,
}

/// How often a message is sent on to where its slot is said to be.
const REDIRECTIONS: usize = 50;

/// Between two of these: servers may need a moment to agree.
const AGREEMENT: Duration = Duration::from_millis(20);

pub(super) type Answers = Vec<RedisResult<Value>>;

impl Link {
    /// Connects. What is said on subscribed channels goes to `hear`.
    pub(super) async fn open(
        servers: &Servers,
        hear: impl Fn(Bytes) + Clone + Send + Sync + 'static,
    ) -> RedisResult<Self> {
        let moves = Arc::new(Moves::default());
        let heard = Arc::clone(&moves);
        let config = servers.config();
        let listens = servers.config().set_push_sender(move |push: PushInfo| {
            match Said::from(push) {
                Said::Message(bytes) => hear(bytes),
                Said::Left(channel) => heard.left(&channel),
                Said::Other => {}
            }
            Ok::<(), RedisError>(())
        });
        let (map, nodes) = match servers.map().await? {
            None => {
                let (sender, info) = servers.reach("", &config).await?;
                let listener = servers.connect(&info, &listens).await?;
                (None, vec![Node { info, sender, listener }])
            }
            Some((map, masters)) => {
                let nodes = masters.into_iter().map(async |info| {
                    let sender = servers.connect(&info, &config).await?;
                    let listener = servers.connect(&info, &listens).await?;
                    RedisResult::Ok(Node { info, sender, listener })
                });
                (Some(Mutex::new(map)), try_join_all(nodes).await?)
            }
        };
        Ok(Self { nodes, map, moves })
    }

    /// Waits until a connection fails or leads to the wrong server.
    pub(super) async fn watch(&self, servers: &Servers, pause: Duration) -> RedisError {
        let watches = self.nodes.iter().flat_map(|node| {
            let state = self.map.is_some();
            [
                Box::pin(ping(node.sender.clone(), pause, state)),
                Box::pin(ping(node.listener.clone(), pause, false)),
            ]
        });
        let watches = select_all(watches);
        let replaced = async {
            match self.nodes.first() {
                Some(node) => servers.is_replaced(&node.info, pause).await,
                None => fault("there is no server"),
            }
        };
        tokio::select! {
            (error, ..) = watches => error,
            error = replaced => error,
        }
    }

    /// Sends messages to their channels, in order. What the servers answer to
    /// each: how many connections it went to, or why it was refused.
    ///
    /// # Errors
    ///
    /// A connection failed, and any of them may be lost.
    pub(super) async fn publish(&self, messages: &[(&str, &[u8])]) -> RedisResult<Answers> {
        let mut answers = self.send(messages).await?;
        for _ in 0..REDIRECTIONS {
            let mut moved = Vec::new();
            for ((at, answer), message) in answers.iter().enumerate().zip(messages) {
                if let Err(refusal) = answer
                    && self.follow(refusal)?
                {
                    moved.push((at, *message));
                }
            }
            if moved.is_empty() {
                break;
            }
            sleep(AGREEMENT).await;
            let (places, messages): (Vec<usize>, Vec<_>) = moved.into_iter().unzip();
            for (at, answer) in places.into_iter().zip(self.send(&messages).await?) {
                if let Some(place) = answers.get_mut(at) {
                    *place = answer;
                }
            }
        }
        Ok(answers)
    }

    async fn send(&self, messages: &[(&str, &[u8])]) -> RedisResult<Answers> {
        let commands = messages.iter().map(|&(channel, bytes)| {
            let mut command = self.command("PUBLISH", channel);
            command.arg(bytes);
            (channel, command)
        });
        self.ask(|node| &node.sender, commands).await
    }

    /// Subscribes to channels. Those in slots that [`Link::moves`] tells of
    /// afterwards are not subscribed to.
    pub(super) async fn subscribe(&self, channels: &[String]) -> RedisResult<()> {
        let commands = channels.iter().map(|name| (&**name, self.command("SUBSCRIBE", name)));
        let answers = self.ask(|node| &node.listener, commands).await?;
        let mut has_moved = false;
        for (channel, answer) in channels.iter().zip(answers) {
            match answer {
                Ok(answer) => confirms(&answer, true, channel)?,
                Err(error) if self.follow(&error)? => {
                    self.moves.has_moved(channel);
                    has_moved = true;
                }
                Err(error) => return Err(error),
            }
        }
        if has_moved {
            sleep(AGREEMENT).await;
        }
        Ok(())
    }

    /// Gives channels up.
    pub(super) async fn unsubscribe(&self, channels: &[String]) -> RedisResult<()> {
        self.moves.leave(channels);
        let commands = channels.iter().map(|name| (&**name, self.command("UNSUBSCRIBE", name)));
        let answers = self.ask(|node| &node.listener, commands).await;
        self.moves.have_left();
        for (channel, answer) in channels.iter().zip(answers?) {
            match answer {
                Ok(answer) => confirms(&answer, false, channel)?,
                // It is not there any more, and so not subscribed to.
                Err(error) if self.follow(&error)? => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What listeners have heard of channels that move.
    pub(super) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// `SPUBLISH` and so on where there are slots.
    fn command(&self, name: &str, channel: &str) -> Cmd {
        let sharded = if self.map.is_some() { "S" } else { "" };
        let mut command = redis::cmd(&format!("{sharded}{name}"));
        command.arg(channel);
        command
    }

    /// Has the servers do what concerns these channels; the answers in the same order.
    async fn ask<'a>(
        &self,
        connection: impl Fn(&Node) -> &MultiplexedConnection,
        commands: impl Iterator<Item = (&'a str, Cmd)>,
    ) -> RedisResult<Answers> {
        let mut order = Vec::new();
        let mut pipelines: Vec<Pipeline> = self.nodes.iter().map(|_| Pipeline::new()).collect();
        for (channel, command) in commands {
            let owner = self.owner(channel);
            let pipeline = pipelines.get_mut(owner).ok_or_else(|| fault("there is no server"))?;
            pipeline.add_command(command);
            order.push(owner);
        }
        let answers = pipelines.iter_mut().zip(&self.nodes).map(async |(pipeline, node)| {
            if pipeline.is_empty() {
                return Ok(Vec::new());
            }
            let mut connection = connection(node).clone();
            pipeline.ignore_errors().query_async::<Answers>(&mut connection).await
        });
        let answers = try_join_all(answers).await?;
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        let next = |owner: usize| answers.get_mut(owner).and_then(Iterator::next);
        order.into_iter().map(next).collect::<Option<_>>().ok_or_else(out_of_step)
    }

    fn owner(&self, channel: &str) -> usize {
        let owner = self.map().and_then(|map| map.owner(slot(channel.as_bytes())));
        owner.unwrap_or_default()
    }

    /// Whether another server has to be asked, which will be. An error if none
    /// that is connected can be.
    fn follow(&self, refusal: &RedisError) -> RedisResult<bool> {
        let (Some(mut map), Some(code)) = (self.map(), refusal.code()) else { return Ok(false) };
        if code == "CLUSTERDOWN" {
            return Err(refusal.clone());
        }
        if code != "MOVED" {
            return Ok(false);
        }
        let place = refusal.redirect_node().and_then(|(address, slot)| {
            let (host, port) = address.rsplit_once(':')?;
            Some((slot, (host.to_owned(), port.parse().ok()?)))
        });
        if place.is_some_and(|(slot, to)| map.has_moved(slot, &to)) {
            return Ok(true);
        }
        Err(refusal.clone())
    }

    fn map(&self) -> Option<MutexGuard<'_, Map>> {
        Some(self.map.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks a server whether it lives, and one of a cluster whether that works.
async fn ping(mut connection: MultiplexedConnection, pause: Duration, state: bool) -> RedisError {
    loop {
        let next = Instant::now() + pause;
        let answer = if state {
            super::servers::is_working(&mut connection).await
        } else {
            match redis::cmd("PING").query_async(&mut connection).await {
                Ok(Value::SimpleString(pong)) if pong == "PONG" => Ok(()),
                Ok(_) => Err(out_of_step()),
                Err(error) => Err(error),
            }
        };
        if let Err(error) = answer {
            return error;
        }
        sleep_until(next).await;
    }
}
