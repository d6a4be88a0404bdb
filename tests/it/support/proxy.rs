//! A way to another server, with faults that are switched while it is in use.
//!
//! What it does to a connection: hold what goes one way or both, as a network
//! that is cut does; delay it, by chance within bounds; slow it down; close it,
//! or reset it. What is held is not lost, as TCP would send it again.

use std::{net::SocketAddr, time::Duration};

use rowcast::runtime;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::dice::Dice;

/// Gone when dropped, with its connections.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    target: watch::Sender<SocketAddr>,
    /// Counts the times that all connections were ended, and how the last time.
    ended: watch::Sender<(u32, End)>,
    task: JoinHandle<()>,
}

/// What it does to every connection; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// What clients say gets no further.
    pub holds_requests: bool,
    /// What the server says gets no further.
    pub holds_answers: bool,
    /// Whoever connects is reset at once.
    pub refuses: bool,
    /// The least that everything is late, each way.
    pub latency: Duration,
    /// By up to how much more.
    pub jitter: Duration,
    /// Bytes a second of one connection, each way; zero for as many as there are.
    pub rate: usize,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order.
    Close,
    /// As if a machine knew nothing of it.
    Reset,
}

/// Most bytes of one piece.
const PIECE: usize = 16 << 10;

/// Most pieces under way in one direction.
const PIECES: usize = 64;

impl Faults {
    /// The network is cut.
    pub const CUT: Self = Self {
        holds_requests: true,
        holds_answers: true,
        refuses: false,
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: 0,
    };
}

impl Proxy {
    /// A way to `target` (`host:port`). Chance comes from `seed`.
    pub async fn start(target: &str, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, _) = watch::channel(Faults::default());
        let (target, _) = watch::channel(target.parse().unwrap());
        let (ended, _) = watch::channel((0, End::Close));
        let (watched, targets, ends) = (faults.subscribe(), target.subscribe(), ended.subscribe());
        let task = runtime::spawn("proxy", async move {
            let mut connections = JoinSet::new();
            for n in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let target = *targets.borrow();
                let (watched, ends) = (watched.clone(), ends.clone());
                connections.spawn(connection(client, target, watched, ends, seed.wrapping_add(n)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, faults, target, ended, task }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on, for new connections and old ones.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// No faults from now on.
    pub fn heal(&self) {
        self.set(Faults::default());
    }

    /// Ends all connections that there are.
    pub fn end(&self, how: End) {
        self.ended.send_modify(|ended| *ended = (ended.0 + 1, how));
    }

    /// New connections lead there, and old ones end.
    pub fn lead_to(&self, target: &str) {
        self.target.send_replace(target.parse().unwrap());
        self.end(End::Reset);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(
    mut client: TcpStream,
    target: SocketAddr,
    faults: watch::Receiver<Faults>,
    mut ended: watch::Receiver<(u32, End)>,
    seed: u64,
) {
    ended.mark_unchanged();
    if faults.borrow().refuses {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = Way { faults: faults.clone(), holds: |faults| faults.holds_requests, seed };
        let answers = Way { faults, holds: |faults| faults.holds_answers, seed: !seed };
        tokio::select! {
            _ = ended.changed() => ended.borrow().1,
            _ = async {
                tokio::join!(requests.pass(from_client, to_server), answers.pass(from_server, to_client))
            } => End::Close,
        }
    };
    if how == End::Reset {
        reset(&client);
        reset(&server);
    }
}

/// Its end will be a reset.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// One direction of a connection.
struct Way {
    faults: watch::Receiver<Faults>,
    holds: fn(&Faults) -> bool,
    seed: u64,
}

impl Way {
    /// Passes on what comes, until one side ends.
    async fn pass(&self, from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
        let (queue, pieces) = mpsc::channel(PIECES);
        tokio::join!(self.read(from, queue), self.write(&mut to, pieces));
        let _ = to.shutdown().await;
    }

    async fn read(&self, mut from: ReadHalf<'_>, queue: mpsc::Sender<(Instant, Vec<u8>)>) {
        let mut dice = Dice(self.seed);
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let Faults { latency, jitter, .. } = *self.faults.borrow();
            let late = jitter.mul_f64(dice.roll(1000) as f64 / 1000.0);
            let due = Instant::now() + latency + late;
            if queue.send((due, piece[..count].to_vec())).await.is_err() {
                break;
            }
        }
    }

    async fn write(&self, to: &mut WriteHalf<'_>, mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>) {
        let mut faults = self.faults.clone();
        while let Some((due, piece)) = pieces.recv().await {
            // Never before the one before it, for there is one writer.
            sleep_until(due).await;
            let opened = faults.wait_for(|faults| !(self.holds)(faults)).await;
            let Ok(rate) = opened.map(|faults| faults.rate) else { return };
            if to.write_all(&piece).await.is_err() {
                return;
            }
            if rate > 0 {
                sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
            }
        }
    }
}
