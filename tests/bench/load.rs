//! Load for a proxy with mutual TLS, and the service behind it. `scripts/bench` compares proxies with it.
//!
//!     load upstream ADDRESS                      serves until its standard input ends
//!     load run MODE ADDRESS DIRECTORY SECONDS    sends requests to the proxy at ADDRESS
//!     load idle MODE ADDRESS DIRECTORY COUNT     opens connections, and closes them
//!
//! `DIRECTORY` has `cluster.crt` and the client's `client.crt` and `client.key`. `run` prints `ready`, sends requests
//! after a line of input, prints one line of JSON, and closes its connections after another line. `idle` prints `open`
//! and `closed`, and waits for a line after each.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]

#[expect(dead_code, reason = "another benchmark needs more of it")]
mod caller;
#[path = "../common/cluster.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod cluster;
mod upstream;

use std::cell::{Cell, RefCell};
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::LocalSet;

use crate::caller::{Caller, H2Caller, Keep, Sessions};

/// Requests a second of the mode with a fixed rate, low enough for every proxy.
const RATE: u32 = 1_000;

/// Path of the usual request.
const SMALL: &str = "/v1/things";

/// Kind of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A connection with a full handshake for each request.
    Full,
    /// A connection with a resumed handshake for each request.
    Resumed,
    H1,
    H2,
    /// Bodies of this many bytes from the service.
    Down(usize),
    /// Bodies of this many bytes to the service.
    Up(usize),
    /// HTTP/1.1 at a fixed rate.
    Rate,
}

impl Mode {
    fn parse(text: &str) -> Self {
        match text {
            "full" => Self::Full,
            "resumed" => Self::Resumed,
            "h1" => Self::H1,
            "h2" => Self::H2,
            "down-64k" => Self::Down(64 << 10),
            "down-10m" => Self::Down(10 << 20),
            "up-64k" => Self::Up(64 << 10),
            "up-10m" => Self::Up(10 << 20),
            "rate" => Self::Rate,
            other => panic!("{other} is no mode"),
        }
    }

    /// Number of clients.
    const fn clients(self) -> usize {
        match self {
            Self::Full | Self::Resumed => 16,
            Self::H1 | Self::H2 | Self::Rate => 32,
            Self::Down(_) | Self::Up(_) => 8,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    match arguments[..] {
        ["upstream", address] => {
            println!("{}", upstream::start(address.parse().unwrap()));
            std::io::stdin().lock().lines().for_each(drop);
        }
        ["run", mode, address, directory, seconds] => {
            let client = Client { address: address.parse().unwrap(), directory: Path::new(directory) };
            let seconds = Duration::from_secs_f64(seconds.parse().unwrap());
            local.block_on(&runtime, client.run(Mode::parse(mode), seconds));
        }
        ["idle", mode, address, directory, count] => {
            let client = Client { address: address.parse().unwrap(), directory: Path::new(directory) };
            local.block_on(&runtime, client.idle(Mode::parse(mode), count.parse().unwrap()));
        }
        // As `cargo bench` starts it, beside the others.
        _ => eprintln!("usage: load upstream|run|idle ...: see scripts/bench"),
    }
}

struct Client<'a> {
    address: SocketAddr,
    directory: &'a Path,
}

/// Measurements of all clients.
#[derive(Default)]
struct Measured {
    requests: Cell<u64>,
    /// Requests on a connection with a resumed handshake.
    resumed: Cell<u64>,
    /// Microseconds of each request.
    latencies: RefCell<Vec<u32>>,
}

impl Measured {
    fn add(&self, begun: Instant) {
        self.requests.set(self.requests.get() + 1);
        self.latencies.borrow_mut().push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

/// Client of one connection after the other, or of one that stays open.
enum OneClient {
    Connecting(Arc<ClientConfig>),
    H1(Box<Caller>),
    H2(H2Caller),
}

impl Client<'_> {
    fn config(&self, keep: Keep) -> ClientConfig {
        let read = |name: &str| std::fs::read(self.directory.join(name)).unwrap();
        let root = CertificateDer::from_pem_slice(&read("cluster.crt")).unwrap();
        let chain = CertificateDer::pem_slice_iter(&read("client.crt")).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(&read("client.key")).unwrap();
        caller::config_of(root, chain, key, Sessions::new(keep))
    }

    /// Connects one client, which has sent one request.
    async fn prepare(&self, mode: Mode) -> OneClient {
        let config = self.config(if mode == Mode::Resumed { Keep::Tickets } else { Keep::Nothing });
        match mode {
            Mode::Full | Mode::Resumed => {
                let config = Arc::new(config);
                // The first handshake is full.
                let mut caller = Caller::connect_with(self.address, Arc::clone(&config)).await;
                caller.get(SMALL).await;
                caller.shutdown().await;
                OneClient::Connecting(config)
            }
            Mode::H2 => {
                let mut caller = H2Caller::connect(self.address, config).await;
                caller.get(SMALL).await;
                OneClient::H2(caller)
            }
            Mode::H1 | Mode::Down(_) | Mode::Up(_) | Mode::Rate => {
                let mut caller = Caller::connect_with(self.address, Arc::new(config)).await;
                caller.fetch(SMALL).await;
                OneClient::H1(Box::new(caller))
            }
        }
    }

    /// Connects clients, and sends requests for this long once a line of the input begins it.
    async fn run(&self, mode: Mode, seconds: Duration) {
        let mut clients = Vec::new();
        for _ in 0..mode.clients() {
            clients.push(self.prepare(mode).await);
        }
        println!("ready");
        wait_for_line();
        let measured = Rc::new(Measured::default());
        let begun = Instant::now();
        let end = begun + seconds;
        let running: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, client)| {
                let turn = Turn { begun, end, number };
                tokio::task::spawn_local(send(mode, self.address, client, turn, Rc::clone(&measured)))
            })
            .collect();
        let mut open = Vec::new();
        for client in running {
            open.push(client.await.unwrap());
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let mut latencies = measured.latencies.take();
        latencies.sort_unstable();
        let at = |share: f64| {
            latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default()
        };
        let figures = serde_json::json!({
            "requests": measured.requests.get(),
            "resumed": measured.resumed.get(),
            "seconds": elapsed,
            "p50_us": at(0.5),
            "p99_us": at(0.99),
        });
        println!("{figures}");
        wait_for_line();
    }

    /// Opens connections that have answered a request each; a line of the input closes them.
    async fn idle(&self, mode: Mode, count: usize) {
        let (mut h1, mut h2) = (Vec::new(), Vec::new());
        let config = Arc::new(self.config(Keep::Nothing));
        for _ in 0..count {
            if mode == Mode::H2 {
                let mut caller = H2Caller::connect(self.address, (*config).clone()).await;
                caller.get(SMALL).await;
                h2.push(caller);
            } else {
                let mut caller = Caller::connect_with(self.address, Arc::clone(&config)).await;
                caller.get(SMALL).await;
                h1.push(caller);
            }
        }
        println!("open");
        wait_for_line();
        for mut caller in h1 {
            caller.close().await;
        }
        drop(h2);
        // Tasks send the last frames of HTTP/2.
        let runtime = tokio::runtime::Handle::current().metrics();
        while runtime.num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("closed");
        wait_for_line();
    }
}

fn wait_for_line() {
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

/// Time of the requests of a client.
#[derive(Clone, Copy)]
struct Turn {
    begun: Instant,
    end: Instant,
    /// Number of the client, counted from 0.
    number: u32,
}

/// Sends requests until the end; returns the client with its connection.
async fn send(
    mode: Mode,
    address: SocketAddr,
    mut client: OneClient,
    turn: Turn,
    measured: Rc<Measured>,
) -> OneClient {
    let (path, body) = match mode {
        Mode::Down(size) => (format!("/v1/bytes/{size}"), Vec::new()),
        Mode::Up(size) => (SMALL.to_owned(), vec![b'x'; size]),
        _ => (SMALL.to_owned(), Vec::new()),
    };
    let interval = Duration::from_secs(1) * mode.clients() as u32 / RATE;
    let mut due = turn.begun + interval * turn.number / mode.clients() as u32;
    loop {
        let mut begun = Instant::now();
        if mode == Mode::Rate {
            // A request that waits for the one before it is late; one that waits for the timer is not.
            if begun < due {
                tokio::time::sleep_until(due.into()).await;
                begun = Instant::now();
            } else {
                begun = due;
            }
            due += interval;
        }
        if Instant::now() >= turn.end {
            return client;
        }
        match &mut client {
            OneClient::Connecting(config) => {
                let mut caller = Caller::connect_with(address, Arc::clone(config)).await;
                caller.get(&path).await;
                measured.resumed.set(measured.resumed.get() + u64::from(caller.is_resumed()));
                measured.add(begun);
                caller.shutdown().await;
            }
            OneClient::H2(caller) => {
                caller.get(&path).await;
                measured.add(begun);
            }
            OneClient::H1(caller) => {
                match body.is_empty() {
                    true => caller.fetch(&path).await,
                    false => caller.upload(&path, &body).await,
                }
                measured.add(begun);
            }
        }
    }
}
