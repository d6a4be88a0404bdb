//! A client that speaks real frames of either version.

use std::collections::{HashMap, VecDeque};

use futures_util::{SinkExt as _, StreamExt as _};
use rowcast::protocol::Vsn;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message as Frame, http::StatusCode},
};

use super::{PATIENCE, server::Server, tokens::token};

/// One socket. Messages that nobody waited for stay in `backlog`, in order.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    vsn: Vsn,
    last_ref: u32,
    /// The reference of the last join of each topic.
    join_refs: HashMap<String, Value>,
    pub backlog: VecDeque<Message>,
}

/// What the server said.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub join_ref: Value,
    pub reference: Value,
    pub topic: String,
    pub event: String,
    pub payload: Value,
}

impl Message {
    /// True for a reply with status `ok`.
    pub fn is_ok(&self) -> bool {
        self.event == "phx_reply" && self.payload["status"] == "ok"
    }

    /// The reason in a reply with status `error`.
    pub fn reason(&self) -> &str {
        assert_eq!(self.payload["status"], "error", "{self:?}");
        self.payload["response"]["reason"].as_str().unwrap_or_default()
    }
}

impl Client {
    /// A socket of the role `anon`, version 2.
    pub async fn connect(server: &Server) -> Self {
        Self::connect_as(server, Vsn::V2, &token("anon")).await
    }

    /// A socket of a version with a key.
    pub async fn connect_as(server: &Server, vsn: Vsn, key: &str) -> Self {
        let version = match vsn {
            Vsn::V1 => "1.0.0",
            Vsn::V2 => "2.0.0",
        };
        let query = format!("apikey={key}&vsn={version}");
        match Self::try_connect(server, &query).await {
            Ok(socket) => Self {
                socket,
                vsn,
                last_ref: 0,
                join_refs: HashMap::new(),
                backlog: VecDeque::new(),
            },
            Err(refusal) => panic!("no upgrade: {refusal:?}"),
        }
    }

    /// The status and the body that refuse an upgrade.
    pub async fn refused(server: &Server, query: &str) -> (StatusCode, String) {
        Self::try_connect(server, query).await.expect_err("refused")
    }

    /// An upgrade with any query.
    pub async fn try_connect(
        server: &Server,
        query: &str,
    ) -> Result<WebSocketStream<TcpStream>, (StatusCode, String)> {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let url = format!("ws://{}/socket/websocket?{query}", server.address());
        match timeout(PATIENCE, client_async(url, stream)).await.expect("an answer") {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status(), String::from_utf8(body).unwrap()))
            }
            Err(other) => panic!("no upgrade: {other}"),
        }
    }

    /// A socket of a server that may be gone, version 2; none if it is.
    pub async fn dial(address: &str, key: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let url = format!("ws://{address}/socket/websocket?apikey={key}&vsn=2.0.0");
        let (socket, _) = client_async(url, stream).await.ok()?;
        let (join_refs, backlog) = (HashMap::new(), VecDeque::new());
        Some(Self { socket, vsn: Vsn::V2, last_ref: 0, join_refs, backlog })
    }

    /// Sends a message and returns its reference.
    pub async fn push(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        self.try_push(topic, event, payload).await.unwrap()
    }

    /// The same on a socket that may be closed; none if it is.
    pub async fn try_push(&mut self, topic: &str, event: &str, payload: Value) -> Option<Value> {
        self.last_ref += 1;
        let reference = json!(self.last_ref.to_string());
        if event == "phx_join" {
            self.join_refs.insert(topic.to_owned(), reference.clone());
        }
        let join_ref = self.join_refs.get(topic).cloned().unwrap_or_default();
        let frame = match self.vsn {
            Vsn::V1 => {
                json!({ "topic": topic, "event": event, "payload": payload, "ref": reference,
                        "join_ref": join_ref })
            }
            Vsn::V2 => json!([join_ref, reference, topic, event, payload]),
        };
        self.socket.send(Frame::text(frame.to_string())).await.ok()?;
        Some(reference)
    }

    /// Sends any frame.
    pub async fn send(&mut self, frame: Frame) {
        self.socket.send(frame).await.unwrap();
    }

    /// Sends a message and waits for its reply.
    pub async fn ask(&mut self, topic: &str, event: &str, payload: Value) -> Message {
        let reference = self.push(topic, event, payload).await;
        self.wait("the reply", |message| {
            message.event == "phx_reply" && message.reference == reference
        })
        .await
    }

    /// Joins a channel with a configuration and waits for the reply.
    pub async fn ask_join(&mut self, topic: &str, config: Value) -> Message {
        self.ask(topic, "phx_join", json!({ "config": config })).await
    }

    /// Joins a channel, which must succeed. Returns the reply's `response`.
    pub async fn join(&mut self, topic: &str, config: Value) -> Value {
        let reply = self.ask_join(topic, config).await;
        assert!(reply.is_ok(), "{reply:?}");
        reply.payload["response"].clone()
    }

    /// Fails unless a topic that was joined with acknowledgements is joined still:
    /// nobody else gets them, while a leave is answered in any case.
    pub async fn expect_joined(&mut self, topic: &str) {
        let reply = self.ask(topic, "broadcast", json!({ "event": "e", "payload": {} })).await;
        assert!(reply.is_ok(), "not joined: {reply:?}");
    }

    /// Joins with bindings and waits until they are live. Returns their ids.
    pub async fn subscribe(&mut self, topic: &str, bindings: Value) -> Vec<i64> {
        let response = self.join(topic, json!({ "postgres_changes": bindings })).await;
        let system = self.event(topic, "system").await;
        assert_eq!(system["message"], "Subscribed to PostgreSQL", "{system}");
        assert_eq!(system["status"], "ok");
        let entries = response["postgres_changes"].as_array().unwrap();
        entries.iter().map(|entry| entry["id"].as_i64().unwrap()).collect()
    }

    /// The payload of the next such event of a topic.
    pub async fn event(&mut self, topic: &str, event: &str) -> Value {
        let what = format!("{event} on {topic}");
        self.wait(&what, |message| message.topic == topic && message.event == event).await.payload
    }

    /// The `data` of the next row change of a topic.
    pub async fn change(&mut self, topic: &str) -> Value {
        let payload = self.event(topic, "postgres_changes").await;
        assert!(payload["ids"].as_array().is_some_and(|ids| !ids.is_empty()), "{payload}");
        payload["data"].clone()
    }

    /// The next message that fits, taken out of the backlog or off the socket.
    pub async fn wait(&mut self, what: &str, fits: impl Fn(&Message) -> bool) -> Message {
        if let Some(at) = self.backlog.iter().position(&fits) {
            return self.backlog.remove(at).unwrap();
        }
        loop {
            let message = match timeout(PATIENCE, self.read()).await {
                Ok(Ok(message)) => message,
                Ok(Err(code)) => panic!("closed with {code:?} while waiting for {what}"),
                Err(_) => panic!("never came: {what}; unread: {:#?}", self.backlog),
            };
            if fits(&message) {
                return message;
            }
            self.backlog.push_back(message);
        }
    }

    /// Everything that came until the answer to a heartbeat sent now.
    pub async fn settled(&mut self) -> &VecDeque<Message> {
        let reply = self.ask("phoenix", "heartbeat", json!({})).await;
        assert!(reply.is_ok(), "{reply:?}");
        &self.backlog
    }

    /// Waits until the server closes the socket. Returns the code, if it gave one.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match timeout(PATIENCE, self.read()).await.expect("the socket closes") {
                Ok(message) => self.backlog.push_back(message),
                Err(code) => return code,
            }
        }
    }

    /// The next message off the socket, or the code with which it was closed, if it had one.
    pub async fn read(&mut self) -> Result<Message, Option<u16>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Frame::Text(text))) => return Ok(self.parse(text.as_str())),
                Some(Ok(Frame::Binary(bytes))) => return Ok(broadcast(&bytes)),
                Some(Ok(Frame::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    fn parse(&self, text: &str) -> Message {
        let value: Value = serde_json::from_str(text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match self.vsn {
            Vsn::V1 => Message {
                join_ref: Value::Null,
                reference: value["ref"].clone(),
                topic: text(&value["topic"]),
                event: text(&value["event"]),
                payload: value["payload"].clone(),
            },
            Vsn::V2 => Message {
                join_ref: value[0].clone(),
                reference: value[1].clone(),
                topic: text(&value[2]),
                event: text(&value[3]),
                payload: value[4].clone(),
            },
        }
    }
}

/// A user broadcast to the server (kind 3) with a JSON payload.
pub fn user_broadcast(topic: &str, event: &str, payload: &Value) -> Frame {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut bytes = vec![3, 0, 0, length(topic), length(event), 0, 1];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(event.as_bytes());
    bytes.extend_from_slice(payload.to_string().as_bytes());
    Frame::binary(bytes)
}

/// Reads a user broadcast from the server (kind 4). Bytes become an array of numbers.
fn broadcast(bytes: &[u8]) -> Message {
    let [4, topic, event, meta, encoding, rest @ ..] = bytes else {
        panic!("a binary frame of an unknown kind: {bytes:?}")
    };
    let (topic, rest) = rest.split_at(usize::from(*topic));
    let (event, rest) = rest.split_at(usize::from(*event));
    let rest = &rest[usize::from(*meta)..];
    let payload = match encoding {
        0 => json!(rest),
        1 => serde_json::from_slice(rest).unwrap(),
        _ => panic!("an unknown encoding: {bytes:?}"),
    };
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    Message {
        join_ref: Value::Null,
        reference: Value::Null,
        topic: text(topic),
        event: "broadcast".to_owned(),
        payload: json!({ "type": "broadcast", "event": text(event), "payload": payload }),
    }
}
