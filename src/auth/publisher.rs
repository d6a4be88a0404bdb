//! For tests: a server on the loopback address that says what it is told to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::runtime;

/// A publisher of key sets.
pub(super) struct Publisher {
    /// Where it is.
    pub(super) url: String,
    answer: Arc<Mutex<Vec<u8>>>,
    requests: Arc<AtomicUsize>,
    last: Arc<Mutex<String>>,
}

impl Publisher {
    /// Answers every request with `answer` and closes; an empty answer stands
    /// for silence.
    pub(super) async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json?a=b", listener.local_addr().unwrap());
        let publisher = Self {
            url,
            answer: Arc::new(Mutex::new(answer.into())),
            requests: Arc::default(),
            last: Arc::default(),
        };
        let (answer, requests) = (Arc::clone(&publisher.answer), Arc::clone(&publisher.requests));
        let last = Arc::clone(&publisher.last);
        runtime::spawn("publisher", async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                *last.lock().unwrap() = String::from_utf8_lossy(&request[..length]).into_owned();
                requests.fetch_add(1, Ordering::Relaxed);
                let answer = answer.lock().unwrap().clone();
                // A client that has read enough hangs up.
                let _ = stream.write_all(&answer).await;
                if answer.is_empty() {
                    kept.push(stream);
                }
            }
        });
        publisher
    }

    /// Answers otherwise from now on.
    pub(super) fn say(&self, answer: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    /// How often it was asked.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// The last request.
    pub(super) fn last(&self) -> String {
        self.last.lock().unwrap().clone()
    }
}

/// A complete answer with that body.
pub(super) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
