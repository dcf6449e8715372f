//! Instructions of one request, one handshake and one issuance, in user space.
//!
//! callgrind counts them, so that the figures depend neither on the speed of the machine nor on its load. Each is
//! the difference of two processes that differ in the number of repetitions alone: the start falls out.
//!
//!     instructions PROGRAMS [--update] [--keep=DIRECTORY] [FIGURE]...
//!
//! `PROGRAMS` is the directory of both programs. The figures are compared with `instructions.json` beside this file,
//! and the exit code is 1 if one has grown by more than 3 %. `--update` writes them there instead. `--keep` keeps what
//! callgrind has written about each figure, for `callgrind_annotate`.

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

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;

use crate::caller::{Caller, H2Caller, Keep, Sessions};
use crate::cluster::{Cluster, Leaf};

/// Growth of a figure that is refused.
const MOST_GROWTH: f64 = 1.03;

/// Repetitions that every process makes of everything, so that what is done once is done in each.
const WARM_UP: usize = 24;

/// Certificates of the smaller of two issuances.
const FEW_CERTIFICATES: usize = 16;

/// What a gateway is asked to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeated {
    H1Request,
    H2Request,
    FullHandshake,
    ResumedHandshake,
}

impl Repeated {
    const ALL: [Self; 4] = [Self::H1Request, Self::H2Request, Self::FullHandshake, Self::ResumedHandshake];

    const fn name(self) -> &'static str {
        match self {
            Self::H1Request => "h1_request",
            Self::H2Request => "h2_request",
            Self::FullHandshake => "full_handshake",
            Self::ResumedHandshake => "resumed_handshake",
        }
    }

    const fn repetitions(self) -> usize {
        match self {
            Self::H1Request | Self::H2Request => 1_000,
            Self::FullHandshake => 60,
            Self::ResumedHandshake => 120,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let update = arguments.iter().any(|argument| argument == "--update");
    let keep = arguments.iter().find_map(|argument| argument.strip_prefix("--keep=")).map(Path::new);
    let mut plain = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let programs = PathBuf::from(plain.next().expect("the directory of the programs"));
    let wanted: Vec<&str> = plain.map(String::as_str).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(&name);
    let mut figures = BTreeMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let repeated: Vec<_> = Repeated::ALL.into_iter().filter(|repeated| is_wanted(repeated.name())).collect();
    if !repeated.is_empty() {
        let cluster = Cluster::new("prod");
        let upstream = upstream::start(SocketAddr::from(([127, 0, 0, 1], 0)));
        let count = |repeated| runtime.block_on(count_gateway(&programs, keep, &cluster, upstream, repeated));
        let base = count(None);
        for repeated in repeated {
            let times = repeated.repetitions() as u64;
            figures.insert(repeated.name(), (count(Some(repeated)) - base) / times);
        }
    }
    if is_wanted("issuance") {
        let more = 8 * FEW_CERTIFICATES;
        let [few, many] =
            [FEW_CERTIFICATES, FEW_CERTIFICATES + more].map(|number| count_issuance(&programs, number));
        figures.insert("issuance", (many - few) / more as u64);
    }
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/instructions.json");
    match update {
        true => write(&baseline, &figures),
        false => compare(&baseline, &figures),
    }
}

fn read(baseline: &Path) -> BTreeMap<String, u64> {
    fs::read_to_string(baseline).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default()
}

fn write(baseline: &Path, figures: &BTreeMap<&str, u64>) -> ExitCode {
    let mut all = read(baseline);
    all.extend(figures.iter().map(|(name, count)| ((*name).to_owned(), *count)));
    fs::write(baseline, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
    all.iter().for_each(|(name, count)| println!("{name:<20} {count:>12}"));
    ExitCode::SUCCESS
}

fn compare(baseline: &Path, figures: &BTreeMap<&str, u64>) -> ExitCode {
    let before = read(baseline);
    let mut grown = Vec::new();
    println!("{:<20} {:>12} {:>12} {:>8}", "instructions", "baseline", "now", "change");
    for (name, count) in figures {
        let Some(before) = before.get(*name) else {
            grown.push(*name);
            println!("{name:<20} {:>12} {count:>12}", "-");
            continue;
        };
        let ratio = *count as f64 / *before as f64;
        println!("{name:<20} {before:>12} {count:>12} {:>+7.1}%", (ratio - 1.0) * 100.0);
        if ratio > MOST_GROWTH {
            grown.push(*name);
        }
    }
    match grown.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!(
                "more than 3 % above the baseline, or without one: {}; if that is meant, update the baseline in the \
                 same commit: scripts/bench --instructions --update",
                grown.join(", ")
            );
            ExitCode::FAILURE
        }
    }
}

/// A gateway that callgrind runs, with one worker.
struct Gateway {
    address: SocketAddr,
    process: Child,
    directory: tempfile::TempDir,
}

impl Gateway {
    fn start(programs: &Path, cluster: &Cluster, upstream: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("cluster.crt", &cluster.bundle());
        write("cluster.crl", &cluster.crl(1, &[]));
        cluster.leaf("control-service", "127.0.0.1").write(directory.path(), "gateway");
        write(
            "gateway.yaml",
            &format!(
                "listen: 127.0.0.1:0
identity: {{ certificate: gateway.crt, key: gateway.key }}
trust: {{ bundle: cluster.crt, crl: cluster.crl }}
upstreams: {{ api: {{ url: \"http://{upstream}\" }} }}
routes:
  - {{ path: \"/v1/nodes/{{name}}/**\", methods: [GET, PUT], allow: [{{ role: node-agent, name: \"{{name}}\" }}], upstream: api }}
  - {{ path: /v1/**, methods: [GET, POST], allow: [{{ role: api-user }}], upstream: api }}
threads: 1
"
            ),
        );
        let mut process = counted(&programs.join("cluster-gateway"), directory.path())
            .args(["run", "--config", "gateway.yaml"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("valgrind starts");
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut before = Vec::new();
        let listening = said.find_map(|line| {
            let address = line.strip_prefix("listening on ").map(str::to_owned);
            before.push(line);
            address
        });
        let address = listening.unwrap_or_else(|| panic!("no gateway: {}", before.join("\n")));
        std::thread::spawn(move || said.for_each(drop));
        Self { address: address.parse().unwrap(), process, directory }
    }

    /// Ends it; the instructions of its worker, the thread that has most of them.
    fn stop(mut self, keep: Option<PathBuf>) -> u64 {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "the gateway fails: {status}");
        let worker = threads(self.directory.path()).into_iter().max().unwrap();
        if let Some(kept) = keep {
            fs::copy(worker.1, kept).unwrap();
        }
        worker.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program below callgrind, which writes into `directory`.
fn counted(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--separate-threads=yes", "--error-limit=no", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", directory.join("callgrind.out").display()));
    command.arg(program).current_dir(directory).env("AWS_LC_SYS_NO_JITTER_ENTROPY", "1");
    command
}

/// Instructions of each thread, with the file about it.
fn threads(directory: &Path) -> Vec<(u64, PathBuf)> {
    let mut counts = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("callgrind.out-") {
            let text = fs::read_to_string(&path).unwrap();
            let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
            counts.push((total.map_or(0, |total| total.trim().parse().unwrap()), path));
        }
    }
    counts
}

/// Instructions of a gateway that warms up, and then repeats something.
async fn count_gateway(
    programs: &Path,
    keep: Option<&Path>,
    cluster: &Cluster,
    upstream: SocketAddr,
    repeated: Option<Repeated>,
) -> u64 {
    let gateway = Gateway::start(programs, cluster, upstream);
    let client = Client::connect(&gateway, cluster).await;
    let Client { mut h1, mut h2, full, resumed, sessions } = client;
    let address = gateway.address;
    for (kind, times) in Repeated::ALL
        .map(|kind| (kind, WARM_UP))
        .into_iter()
        .chain(repeated.map(|kind| (kind, kind.repetitions())))
    {
        for _ in 0..times {
            match kind {
                Repeated::H1Request => h1.get("/v1/volumes/3f2b8a52").await,
                Repeated::H2Request => h2.get("/v1/volumes/3f2b8a52").await,
                Repeated::FullHandshake => assert!(!handshake(address, &full, &sessions.0).await),
                Repeated::ResumedHandshake => assert!(handshake(address, &resumed, &sessions.1).await),
            }
        }
    }
    h1.close().await;
    drop(h2);
    gateway.stop(keep.map(|keep| keep.join(repeated.map_or("base", Repeated::name))))
}

/// Clients with what they have open.
struct Client {
    h1: Caller,
    h2: H2Caller,
    full: Arc<rustls::ClientConfig>,
    resumed: Arc<rustls::ClientConfig>,
    /// Of the full and of the resumed handshakes.
    sessions: (Arc<Sessions>, Arc<Sessions>),
}

impl Client {
    async fn connect(gateway: &Gateway, cluster: &Cluster) -> Self {
        let leaf: Leaf = cluster.leaf("api-user", "alice");
        let sessions = (Sessions::none(), Sessions::new(Keep::Tickets));
        let config = |sessions| Arc::new(caller::config(cluster, &leaf, sessions));
        let full = config(Arc::clone(&sessions.0));
        let resumed = config(Arc::clone(&sessions.1));
        let h1 = Caller::connect_with(gateway.address, config(Sessions::none())).await;
        let h2 = H2Caller::connect(gateway.address, caller::config(cluster, &leaf, Sessions::none())).await;
        // The first one is full.
        handshake(gateway.address, &resumed, &sessions.1).await;
        Self { h1, h2, full, resumed, sessions }
    }
}

/// Connects, gets a ticket, and closes; whether a session was resumed.
async fn handshake(address: SocketAddr, config: &Arc<rustls::ClientConfig>, sessions: &Sessions) -> bool {
    let mut caller = Caller::connect_with(address, Arc::clone(config)).await;
    caller.ticket(sessions).await;
    let resumed = caller.is_resumed();
    caller.close().await;
    resumed
}

/// Instructions of a process that issues this many certificates, in all of its threads.
fn count_issuance(programs: &Path, certificates: usize) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let program = programs.join("cluster-ca");
    let made = Command::new(&program)
        .args(["--quiet", "initialize", "bench"])
        .current_dir(directory.path())
        .status()
        .unwrap();
    assert!(made.success(), "no cluster: {made}");
    let issued = counted(&program, directory.path())
        .args(["--quiet", "create-node", "--output", "nodes", "--count", &certificates.to_string()])
        .status()
        .expect("valgrind starts");
    assert!(issued.success(), "no certificates: {issued}");
    threads(directory.path()).into_iter().map(|(count, _)| count).sum()
}
