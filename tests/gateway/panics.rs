//! What a panic may take down: the connection that it happens in, or the whole gateway, and nothing that
//! is less than whole may go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cluster_ca::clock::{Clock, SystemClock};
use cluster_ca::error::Coded;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Setup, patiently, read_until, request_h2};

/// A clock that panics once, when it has been wound up, on the threads of this name.
#[derive(Debug)]
struct FaultyClock {
    threads: &'static str,
    wound_up: AtomicBool,
}

impl FaultyClock {
    fn new(threads: &'static str) -> Arc<Self> {
        Arc::new(Self { threads, wound_up: AtomicBool::new(false) })
    }
}

impl Clock for FaultyClock {
    fn now(&self) -> OffsetDateTime {
        let here = thread::current().name().is_some_and(|name| name.starts_with(self.threads));
        assert!(!(here && self.wound_up.swap(false, Ordering::SeqCst)), "the test's clock has stopped");
        SystemClock.now()
    }

    fn monotonic(&self) -> std::time::Instant {
        SystemClock.monotonic()
    }

    fn sleep(&self, pause: std::time::Duration) {
        SystemClock.sleep(pause);
    }
}

#[tokio::test]
async fn a_panic_in_a_request_ends_that_connection_alone() {
    let clock = FaultyClock::new("worker-");
    let setup = Setup { clock: clock.clone(), threads: 1, ..Setup::new() };
    let gateway = setup.start();
    let user = gateway.user();
    let call = b"GET /.well-known/cluster/whoami HTTP/1.1\r\nhost: g\r\n\r\n";
    let mut other = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    other.write_all(call).await.unwrap();
    read_until(&mut other, "resumed").await;

    let mut unlucky = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    unlucky.write_all(call).await.unwrap();
    read_until(&mut unlucky, "resumed").await;
    clock.wound_up.store(true, Ordering::SeqCst);
    unlucky.write_all(call).await.unwrap();
    let mut rest = Vec::new();
    let _ = patiently(unlucky.read_to_end(&mut rest)).await;
    assert!(!clock.wound_up.load(Ordering::SeqCst), "it did panic");

    other.write_all(call).await.unwrap();
    read_until(&mut other, "resumed").await;
    drop((other, unlucky));
    crate::eventually::eventually("every place is free again", || {
        (gateway.running().open_connections() == 0).then_some(())
    });
    assert_eq!(gateway.call_h2(&user, request_h2("GET", "/v1/x", "")).await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_lost_its_housekeeping_stops() {
    let clock = FaultyClock::new("housekeeping");
    let mut gateway = Setup { clock: clock.clone(), ..Setup::new() }.start();
    clock.wound_up.store(true, Ordering::SeqCst);
    patiently(gateway.running().stopped()).await;
    assert_eq!(gateway.try_join().unwrap_err().code(), "gateway.panicked");
}

/// The program with a stopped clock, inside of this test binary: the only way to give it one.
fn program(configuration: &str) {
    let clock = FaultyClock::new("");
    clock.wound_up.store(true, Ordering::SeqCst);
    let arguments = ["cluster-gateway", "check", "--config", configuration].map(std::ffi::OsString::from);
    let code = cluster_ca::gateway::commands::run(arguments, clock);
    println!("exit code 3: {}", code == std::process::ExitCode::from(3));
}

#[test]
fn a_panic_of_the_program_is_one_line_with_a_documented_exit_code() {
    if let Ok(configuration) = std::env::var("PANICS_CONFIGURATION") {
        return program(&configuration);
    }
    let home = crate::home::Home::initialized();
    home.ok(&["create-control", "127.0.0.1"]);
    let configuration = home.write(
        "gateway.yaml",
        "listen: 127.0.0.1:0\n\
         identity: { certificate: issued/control-127.0.0.1.crt, key: issued/control-127.0.0.1.key }\n\
         trust: { bundle: cluster.crt, crl: cluster.crl }\n\
         upstreams: { api: { url: \"http://127.0.0.1:1\" } }\n\
         routes:\n  - { path: \"/**\", methods: [GET], allow: [{ role: api-user }], upstream: api }\n",
    );
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "panics::a_panic_of_the_program_is_one_line_with_a_documented_exit_code",
        ])
        .env("PANICS_CONFIGURATION", configuration)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("exit code 3: true"), "{stdout}\n{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("internal error")).collect();
    assert!(errors.len() == 1 && errors[0].contains("the test's clock has stopped"), "{stderr}");
    assert!(errors[0].ends_with("[system.panic]") && stderr.contains("\nhint: "), "{stderr}");
}
