//! Bound of the system calls of a request on open connections: each costs about a thousand instructions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::eventually::eventually;
use crate::harness::Setup;

/// Gateway below strace; both end with it.
struct Traced(Child);

impl Traced {
    /// Sends a signal to the gateway, if it is still there.
    fn end(&self, signal: &str) {
        let strace = self.0.id();
        let children =
            fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap_or_default();
        for gateway in children.split_whitespace() {
            let _ = Command::new("kill").args([signal, gateway]).status();
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.end("-KILL");
        let _ = self.0.wait();
    }
}

/// System calls by name of a worker that answers this many requests on one connection.
fn calls(directory: &Path, version: &str, requests: usize) -> BTreeMap<String, usize> {
    // The gateway watches its own directory, and would notice each line.
    let output = tempfile::tempdir().unwrap();
    let (traced, stderr) = (output.path().join("strace.out"), output.path().join("stderr"));
    let strace = Command::new("strace")
        .args(["--follow-forks", "--output"])
        .arg(&traced)
        .args([env!("CARGO_BIN_EXE_cluster-gateway"), "run", "--config", "gateway.yaml"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&stderr).unwrap())
        .spawn()
        .expect("strace starts");
    let mut gateway = Traced(strace);
    let address = eventually("it listens", || {
        let said = fs::read_to_string(&stderr).unwrap();
        said.lines().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    });
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "60", version, "--globoff"])
        .args([
            "--cacert",
            "cluster.crt",
            "--cert",
            "alice.crt",
            "--key",
            "alice.key",
            "--write-out",
            "%{num_connects}\n",
        ])
        .args((0..requests).flat_map(|_| {
            ["--output".to_owned(), "/dev/null".to_owned(), format!("https://{address}/v1/things")]
        }))
        .current_dir(directory)
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let connects: usize =
        String::from_utf8(output.stdout).unwrap().lines().map(|n| n.parse::<usize>().unwrap()).sum();
    assert_eq!(connects, 1, "one connection");
    gateway.end("-TERM");
    assert!(gateway.0.wait().unwrap().success());
    let mut by_thread: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for line in fs::read_to_string(&traced).unwrap().lines() {
        // A call that another thread's line interrupts has a second line, which begins with `<...`.
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
        if let Some((name, _)) = call.split_once('(') {
            *by_thread.entry(thread.to_owned()).or_default().entry(name.to_owned()).or_default() += 1;
        }
    }
    let mut workers = by_thread.into_values().filter(|calls| calls.contains_key("accept4"));
    let worker = workers.next().expect("a thread accepts the client");
    assert!(workers.next().is_none(), "one thread accepts clients");
    worker
}

#[test]
fn a_request_on_open_connections_takes_few_system_calls() {
    const MORE: usize = 100;
    // Two turns of the event loop, two reads and two writes, and a little for timers.
    const MOST: f64 = 6.25;
    for version in ["--http1.1", "--http2"] {
        let directory = tempfile::tempdir().unwrap();
        // The service behind it belongs to this process, so that only the worker accepts connections.
        let setup = Setup { threads: 1, ..Setup::new() };
        setup.write(directory.path());
        setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
        let [few, many] = [10, 10 + MORE].map(|requests| calls(directory.path(), version, requests));
        let mut per_request: BTreeMap<_, _> = many
            .iter()
            .map(|(name, count)| {
                let more = count.saturating_sub(few.get(name).copied().unwrap_or_default());
                (name.as_str(), f64::from(u32::try_from(more).unwrap()) / 100.0)
            })
            .filter(|(_, count)| *count > 0.0)
            .collect();
        // A record wakes the thread of the log if that sleeps.
        let wakes = per_request.remove("futex").unwrap_or_default();
        assert!(wakes <= 1.0, "{version}: {wakes} calls of futex");
        let all: f64 = per_request.values().sum();
        assert!(all <= MOST, "{version}: {all} of {per_request:?}");
        assert!(all > 3.0, "{version}: was strace at work? {per_request:?}");
    }
}
