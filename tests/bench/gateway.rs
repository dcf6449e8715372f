//! The program as a process, and what the system says it has used.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::caller::{self, Caller, Keep, Sessions};
use crate::cluster::{Cluster, Leaf};

/// How many handshakes are one sample.
const SAMPLE: usize = 500;

/// How many callers make them.
const CALLERS: usize = 10;

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    /// From its start to the moment it listens.
    pub(crate) start: Duration,
    pub(crate) cluster: Trusted,
    process: Child,
    directory: tempfile::TempDir,
    operator: Leaf,
}

/// Connects and goes; whether a session was resumed.
async fn handshake(address: SocketAddr, config: Arc<ClientConfig>, sessions: &Sessions) -> bool {
    let mut caller = Caller::connect_with(address, config).await;
    caller.ticket(sessions).await;
    caller.is_resumed()
}

/// What a caller has to know of a cluster.
pub(crate) type Trusted = caller::Root;

impl Gateway {
    /// Starts it with its embedded upstream and waits until it listens.
    pub(crate) fn start(cluster: &Cluster, crl: &str, threads: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("cluster.crt", &cluster.bundle());
        write("cluster.crl", crl);
        let operator = cluster.leaf("control-service", "127.0.0.1");
        operator.write(directory.path(), "gateway");
        write(
            "gateway.yaml",
            &format!(
                "listen: 127.0.0.1:0
identity: {{ certificate: gateway.crt, key: gateway.key }}
trust: {{ bundle: cluster.crt, crl: cluster.crl }}
operators: [{{ role: control-service }}]
state_directory: .
upstreams: {{ api: {{ url: \"http://127.0.0.1:1\" }} }}
routes: [{{ path: /v1/**, methods: [GET], allow: [{{ role: api-user }}], upstream: api }}]
limits: {{ connections: 11000, connections_per_identity: 11000, requests_per_identity: 8000, connections_per_upstream: 8000, connections_per_address: 11000, idle_timeout: 1h }}
access_log: off
threads: {threads}
"
            ),
        );
        let begun = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"))
            .args(["run", "--config", "gateway.yaml", "--demo-upstream"])
            .current_dir(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = said.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).unwrap();
        let start = begun.elapsed();
        std::thread::spawn(move || said.for_each(drop));
        let address = address.parse().unwrap();
        Self { address, start, cluster: Trusted::of(cluster), process, directory, operator }
    }

    /// Replaces one of its files in one step.
    pub(crate) fn replace(&self, name: &str, contents: &str) {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(path.with_extension("new"), contents).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    pub(crate) async fn wait_for_crl(&self, number: u64) {
        let config = Arc::new(caller::config(&self.cluster, &self.operator, Sessions::none()));
        let wanted = format!("\"number\": \"{number}\"");
        let mut operator = Caller::connect_with(self.address, config).await;
        loop {
            operator.send("GET", "/.well-known/cluster/status", b"").await;
            if operator.answer().await.unwrap().contains(&wanted) {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Makes a sample of handshakes; its CPU time for one of them, in seconds.
    ///
    /// There are several callers at once: CPU matters where there is work to do, and of a gateway that waits
    /// for each step of a single one, a good part is falling asleep and waking up.
    pub(crate) async fn handshakes(&self, leaf: &Leaf, keep: Keep) -> f64 {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let sessions = Sessions::new(keep);
                (Arc::new(caller::config(&self.cluster, leaf, Arc::clone(&sessions))), sessions)
            })
            .collect();
        // The first of each is full whatever is kept.
        for (config, sessions) in &callers {
            handshake(self.address, Arc::clone(config), sessions).await;
        }
        self.rest().await;
        let before = self.cpu();
        let mut running = JoinSet::new();
        for (config, sessions) in callers {
            let address = self.address;
            running.spawn(async move {
                for _ in 0..SAMPLE / CALLERS {
                    let resumed = handshake(address, Arc::clone(&config), &sessions).await;
                    assert_eq!(resumed, keep == Keep::Tickets);
                }
            });
        }
        running.join_all().await;
        self.rest().await;
        (self.cpu() - before).as_secs_f64() / SAMPLE as f64
    }

    /// Waits until it has nothing more to do.
    async fn rest(&self) {
        loop {
            let before = self.cpu();
            sleep(Duration::from_millis(20)).await;
            if self.cpu() - before < Duration::from_micros(200) {
                return;
            }
        }
    }

    /// The time that its threads have run.
    fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let run = |thread: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        Duration::from_nanos(threads.filter_map(run).sum())
    }

    /// The bytes of memory that are its own.
    pub(crate) fn memory(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let anonymous = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        anonymous.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() * 1024.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
