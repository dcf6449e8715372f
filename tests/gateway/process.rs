//! The program itself: what it prints, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::eventually::eventually;
use crate::harness::Setup;
use crate::upstreams::{read_request, scripted};

pub(crate) fn gateway(directory: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// Starts it and waits until it says where it listens.
pub(crate) fn start(directory: &std::path::Path, arguments: &[&str]) -> (Child, String, impl Read + use<>) {
    start_command(gateway(directory, arguments))
}

pub(crate) fn start_command(mut command: Command) -> (Child, String, impl Read + use<>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("listening on ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended without listening");
    }
    let address = line.trim_start_matches("listening on ").trim().to_owned();
    (child, address, said)
}

pub(crate) fn terminate(child: &Child) {
    signal(child, "-TERM");
}

fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn it_serves_curl_and_ends_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let (mut child, address, _said) =
        start(directory.path(), &["run", "--config", "gateway.yaml", "--demo-upstream"]);
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", version])
            .args(["--cacert", "cluster.crt", "--cert", "alice.crt", "--key", "alice.key"])
            .args(["--data", "hello", &format!("https://{address}/v1/things")])
            .current_dir(directory.path())
            .output()
            .expect("curl is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
        let seen: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&seen["body"], &seen["headers"]["x-cluster-name"]), (&"hello".into(), &"alice".into()));
    }
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!((&lines[0]["alpn"], &lines[1]["alpn"]), (&"http/1.1".into(), &"h2".into()));
}

#[test]
fn a_hang_up_loads_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    let (mut child, _, said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    let mut said = BufReader::new(said).lines();
    let mut until =
        |wanted: &str| said.find(|line| line.as_ref().unwrap().contains(wanted)).unwrap().unwrap();
    signal(&child, "-HUP");
    assert!(until("reloaded").contains("generation=2"));
    std::fs::write(directory.path().join("cluster.crl"), "").unwrap();
    signal(&child, "-HUP");
    assert!(until("stays in force").contains("x509.no_block"));
    let config = std::fs::read_to_string(directory.path().join("gateway.yaml")).unwrap();
    std::fs::write(directory.path().join("cluster.crl"), setup.cluster.crl(2, &[])).unwrap();
    std::fs::write(directory.path().join("gateway.yaml"), config.replace("threads: 2", "threads: 1"))
        .unwrap();
    assert!(until("only after a restart").contains("key=\"threads\""));
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_end_of_a_crl_is_told_when_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let mut setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    // A slow machine has until the end of the grace to start.
    let soon = crate::cluster::now() + time::Duration::seconds(2);
    setup.crl = Some(setup.cluster.crl_until(1, &[], soon));
    setup.trust = "crl: cluster.crl, crl_staleness: { grace: 15s }".to_owned();
    setup.more = "admin: state/admin.sock";
    setup.write(directory.path());
    let (mut child, _, said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    let mut said = BufReader::new(said).lines();
    let mut until =
        |wanted: &str| said.find(|line| line.as_ref().unwrap().contains(wanted)).unwrap().unwrap();
    assert!(until("the CRL has expired, and is still accepted").contains("until="));
    until("the CRL has expired: certificates of its issuer are refused");
    let status = gateway(directory.path(), &["status", "--config", "gateway.yaml"]).output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("STATUS") && status.trim_end().ends_with("expired"), "{status}");
    terminate(&child);
    until("draining");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_unchanged_configuration_warns_of_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    // Fewer descriptors than the connections of the configuration would take.
    let mut command = Command::new("sh");
    let run = "ulimit -n 300 && exec \"$0\" run --config gateway.yaml";
    command.args(["-c", run, env!("CARGO_BIN_EXE_cluster-gateway")]).current_dir(directory.path());
    let (mut child, _, said) = start_command(command);
    signal(&child, "-HUP");
    let lines = BufReader::new(said).lines().map(Result::unwrap);
    let until_loaded: Vec<_> = lines.take_while(|line| !line.contains("reloaded")).collect();
    assert!(until_loaded.iter().all(|line| !line.contains("only after a restart")), "{until_loaded:?}");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_would_keep_it_from_running_is_found_by_a_check() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let open = directory.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::create_dir(directory.path().join("log")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), open.join("link")).unwrap();
    for (more, wanted) in [
        ("admin: open/admin.sock", "of the admin socket is writable by all users"),
        ("admin: cluster.crt", "cluster.crt exists and is not a socket"),
        ("access_log: log", "cannot use the access log"),
        ("access_log: open/link", "cannot use the access log"),
    ] {
        Setup { more, ..Setup::new() }.write(directory.path());
        for command in ["check", "run"] {
            let output = gateway(directory.path(), &[command, "--config", "gateway.yaml"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{command} {more}: {said}");
            assert!(said.contains(wanted), "{command} {more}: {said}");
        }
    }
}

#[test]
fn a_check_leaves_no_log_and_no_socket_behind_and_takes_those_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    Setup { more: "admin: admin.sock\naccess_log: access.log", ..setup }.write(directory.path());
    let check = || gateway(directory.path(), &["check", "--config", "gateway.yaml"]).status().unwrap().code();
    let there = || ["admin.sock", "access.log"].map(|name| directory.path().join(name).exists());
    assert_eq!((check(), there()), (Some(0), [false, false]));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
    command.args(["run", "--config", "gateway.yaml"]).current_dir(directory.path());
    let (mut child, _, _said) = start_command(command);
    assert_eq!((check(), there()), (Some(0), [true, true]), "beside a gateway that runs");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_anybody_may_write_decides_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    let set = |name: &str, mode| {
        let path = directory.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = || {
        let output = gateway(directory.path(), &["check", "--config", "gateway.yaml"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    setup.write(directory.path());
    // A link in a directory where anybody may put another one leads wherever they like.
    let config = std::fs::read_to_string(directory.path().join("gateway.yaml")).unwrap();
    std::fs::create_dir_all(directory.path().join("above/trust")).unwrap();
    std::fs::rename(directory.path().join("cluster.crt"), directory.path().join("above/trust/cluster.crt"))
        .unwrap();
    std::os::unix::fs::symlink("above/trust", directory.path().join("trust")).unwrap();
    std::fs::write(directory.path().join("gateway.yaml"), config.replace("cluster.crt", "trust/cluster.crt"))
        .unwrap();
    for name in
        ["gateway.yaml", "trust/cluster.crt", "cluster.crl", "gateway.crt", ".", "above", "above/trust"]
    {
        let (good, bad) = if directory.path().join(name).is_dir() { (0o700, 0o777) } else { (0o644, 0o666) };
        set(name, bad);
        let (code, said) = check();
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains(" is writable by all users") && said.contains("chmod o-w"), "{name}: {said}");
        set(name, good);
        assert_eq!(check().0, Some(0), "{name}");
    }
    // Nor while it runs: what was loaded before stays.
    let (mut child, _, said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    set("above/trust/cluster.crt", 0o666);
    let mut said = BufReader::new(said).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("stays in force") && line.contains("is writable by all users")));
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_mode_of_what_nobody_can_write_says_nothing() {
    // As Kubernetes mounts a ConfigMap: its directory has mode 0777, and nothing in it can be written.
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    std::fs::create_dir(directory.path().join("mounted")).unwrap();
    let script = "mount -t tmpfs -o mode=0777 none mounted && mkdir mounted/..v1 && \
        cp -p cluster.* gateway.* mounted/..v1 && ln -s ..v1 mounted/..data && \
        for file in $(ls mounted/..v1); do ln -s ..data/$file mounted/$file; done && \
        \"$0\" check --config mounted/gateway.yaml; echo writable $?; \
        mount -o remount,ro mounted && \"$0\" check --config mounted/gateway.yaml; echo read-only $?";
    let script = script.replace("mkdir mounted/..v1", "mkdir mounted/..v1 mounted/state");
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script, env!("CARGO_BIN_EXE_cluster-gateway")])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("writable 1\n") && said.contains("is writable by all users"), "{said}");
    assert!(said.contains("read-only 0\n"), "{said}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = crate::upstreams::scripted(|_, mut stream| {
        let mut waste = [0; 1_024];
        while matches!(stream.read(&mut waste), Ok(length) if length > 0) {}
    });
    let setup = Setup::in_front_of(upstream);
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let (mut child, address, _said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    let mut curl = Command::new("curl")
        .args(["--silent", "--max-time", "60", "--cacert", "cluster.crt", "--cert", "alice.crt"])
        .args(["--key", "alice.key", &format!("https://{address}/v1/things")])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the process ends, the request still running", || {
        terminate(&child);
        child.try_wait().unwrap()
    });
    assert!(!curl.wait().unwrap().success());
}

#[test]
fn a_log_that_nobody_reads_keeps_neither_requests_nor_the_end_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    // Each request is a line on standard output and one on standard error, and a pipe holds 64 KiB.
    let (mut child, address, _said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "%{http_code} "])
        .args(["--cacert", "cluster.crt", "--cert", "alice.crt", "--key", "alice.key"])
        .args(["--output", "/dev/null", &format!("https://{address}/v1/[1-500]")])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.matches("502").count(), 500, "{said} {}", String::from_utf8_lossy(&output.stderr));
    terminate(&child);
    let status = eventually("the process ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn check_says_that_all_is_well_or_everything_that_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    let check = |more: &[&str]| {
        let arguments = [&["check", "--config", "gateway.yaml"], more].concat();
        let output = gateway(directory.path(), &arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, _) = check(&[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("2 route(s) to 1 upstream(s) for callers of prod"), "{said}");
    let (_, said, _) = check(&["--json"]);
    let envelope: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&envelope["ok"], &envelope["result"]["routes"]), (&true.into(), &2.into()));
    let stranger = crate::cluster::Cluster::new("other").crl(1, &[]);
    std::fs::write(directory.path().join("cluster.crl"), setup.cluster.crl(1, &[]) + &stranger).unwrap();
    let (code, _, said) = check(&[]);
    assert_eq!((code, said.matches("CRL set aside").count()), (Some(0), 1), "told, and once: {said}");

    std::fs::remove_file(directory.path().join("cluster.crl")).unwrap();
    let (code, _, said) = check(&[]);
    assert_eq!(code, Some(1), "a configuration that names what is not there is refused: {said}");
    assert!(said.starts_with("error: ") && said.contains("cluster.crl"), "{said}");

    setup.crl = Some(setup.cluster.crl_until(1, &[], crate::cluster::now() - time::Duration::DAY / 2));
    setup.write(directory.path());
    let (code, _, said) = check(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("expired") && said.contains("hint: "), "{said}");

    let mut file =
        std::fs::OpenOptions::new().append(true).open(directory.path().join("gateway.yaml")).unwrap();
    writeln!(file, "\nunknown: 1\nlimit: 2").unwrap();
    let (code, said, _) = check(&["--json"]);
    let envelope: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &envelope["ok"]), (Some(1), &false.into()));
    assert_eq!(envelope["error"]["causes"].as_array().unwrap().len(), 2, "{said}");
}

#[test]
fn an_address_that_is_taken_is_an_error_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    let path = directory.path().join("gateway.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string())).unwrap();
    let output = gateway(directory.path(), &["run", "--config", "gateway.yaml"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("error: cannot listen on 127.0.0.1:") && said.contains("hint: "), "{said}");
}

#[test]
fn callers_who_take_every_descriptor_cost_the_others_nothing_once_they_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup {
        upstream: Some("127.0.0.1:1".parse().unwrap()),
        more: "limits: { handshake_timeout: 1s }\n",
        ..Setup::new()
    };
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let program = env!("CARGO_BIN_EXE_cluster-gateway");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 64; exec \"$0\" run --config gateway.yaml --demo-upstream", program])
        .current_dir(directory.path())
        .stdin(Stdio::null());
    let (mut child, address, _said) = start_command(limited);
    let call = || {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "5", "--cacert", "cluster.crt", "--cert", "alice.crt"])
            .args(["--key", "alice.key", &format!("https://{address}/v1/things")])
            .current_dir(directory.path())
            .output();
        output.unwrap().status.success()
    };
    assert!(call());
    // Nobody of them says a word.
    let crowd: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    eventually("an answer in spite of the crowd", || call().then_some(()));
    drop(crowd);
    eventually("an answer after the crowd has gone", || call().then_some(()));
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_access_log_that_nobody_reads_does_not_hold_up_the_start() {
    let directory = tempfile::tempdir().unwrap();
    Setup { more: "access_log: log\n", ..Setup::new() }.write(directory.path());
    assert!(Command::new("mkfifo").arg(directory.path().join("log")).status().unwrap().success());
    let mut child = gateway(directory.path(), &["run", "--config", "gateway.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = eventually("an end", || child.try_wait().unwrap());
    assert!(!status.success());
}

#[test]
fn a_refusal_reaches_a_caller_over_http2_that_sends_a_body() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let (mut child, address, _said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    std::fs::write(directory.path().join("large"), vec![b'x'; 40 << 10]).unwrap();
    let call = |method: &str, path: &str, body: &str| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--http2", "--write-out", "%{http_code}"])
            .args(["--cacert", "cluster.crt", "--cert", "alice.crt", "--key", "alice.key"])
            .args(["--output", "/dev/null", "--request", method, "--data", body])
            .arg(format!("https://{address}{path}"))
            .current_dir(directory.path())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    for body in ["x", "@large"] {
        let said: Vec<_> = (0..20).map(|_| call("POST", "/closed", body)).collect();
        assert_eq!(said, vec!["403"; 20], "{body}");
    }
    let said: Vec<_> = (0..20).map(|_| call("PUT", "/.well-known/cluster/crl", "x")).collect();
    assert_eq!(said, vec!["403"; 20]);
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn one_identity_cannot_use_up_the_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let held = Arc::new(AtomicUsize::new(0));
    let upstream = scripted({
        let held = Arc::clone(&held);
        move |_, mut stream| {
            while let Some(request) = read_request(&mut stream) {
                if request.starts_with("GET /v1/slow") {
                    held.fetch_add(1, Ordering::SeqCst);
                    // Until the gateway gives up.
                    let _ = stream.read(&mut [0]);
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            }
        }
    });
    let setup = Setup::in_front_of(upstream);
    setup.write(directory.path());
    for name in ["alice", "bob"] {
        setup.cluster.leaf("api-user", name).write(directory.path(), name);
    }
    let program = env!("CARGO_BIN_EXE_cluster-gateway");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 200; exec \"$0\" run --config gateway.yaml", program])
        .current_dir(directory.path())
        .stdin(Stdio::null());
    let (mut child, address, _said) = start_command(limited);
    let curl = |name: &str, more: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--http2", "--max-time", "30", "--write-out", "%{http_code}\n"])
            .args([
                "--cacert",
                "cluster.crt",
                "--cert",
                &format!("{name}.crt"),
                "--key",
                &format!("{name}.key"),
            ])
            .args(["--output", "/dev/null"])
            .args(more)
            .arg(format!("https://{address}{path}"))
            .current_dir(directory.path());
        command
    };
    let parallel = ["--parallel", "--parallel-max", "100"];
    let mut attack: Vec<_> = (0..4)
        .map(|_| {
            curl("alice", &parallel, "/v1/slow/[1-100]")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    eventually("as many requests as she may have", || (held.load(Ordering::SeqCst) >= 10).then_some(()));
    for _ in 0..5 {
        let output = curl("bob", &[], "/v1/things").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200\n");
    }
    // A fifth of the connections to the service that fit into 200 descriptors, as in the configuration.
    assert_eq!(held.load(Ordering::SeqCst), 10);
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut refused = String::new();
    while !refused.contains("request.identity_limit") {
        refused.clear();
        assert!(log.read_line(&mut refused).unwrap() > 0);
    }
    assert!(refused.contains("\"status\":503") && refused.contains("\"name\":\"alice\""), "{refused}");
    for curl in &mut attack {
        curl.kill().unwrap();
        curl.wait().unwrap();
    }
    terminate(&child);
    std::io::copy(&mut log, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_access_log_that_is_moved_away_is_begun_anew_on_a_hang_up() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup {
        upstream: Some("127.0.0.1:1".parse().unwrap()),
        more: "access_log: access.log\n",
        ..Setup::new()
    };
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let (mut child, address, _said) =
        start(directory.path(), &["run", "--config", "gateway.yaml", "--demo-upstream"]);
    let call = |path: &str| {
        let status = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--cacert", "cluster.crt", "--cert", "alice.crt"])
            .args(["--key", "alice.key", "--output", "/dev/null", &format!("https://{address}{path}")])
            .current_dir(directory.path())
            .status();
        assert!(status.unwrap().success());
    };
    let has = |file: &str, path: &str| {
        eventually(&format!("a line about {path} in {file}"), || {
            std::fs::read_to_string(directory.path().join(file)).ok()?.contains(path).then_some(())
        });
    };
    call("/v1/before");
    has("access.log", "/v1/before");
    std::fs::rename(directory.path().join("access.log"), directory.path().join("access.log.1")).unwrap();
    call("/v1/between");
    has("access.log.1", "/v1/between");
    signal(&child, "-HUP");
    eventually("a new file", || directory.path().join("access.log").exists().then_some(()));
    call("/v1/after");
    has("access.log", "/v1/after");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_access_log_that_cannot_be_written_is_told_of_and_never_said_to_be_well() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() };
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = gateway(directory.path(), &["run", "--config", "gateway.yaml", "--demo-upstream"]);
    let mut child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = said.find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned())).unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--cacert", "cluster.crt", "--cert", "alice.crt"])
        .args(["--key", "alice.key", &format!("https://{address}/v1/things")])
        .current_dir(directory.path())
        .output();
    assert!(output.unwrap().status.success());
    assert!(said.any(|line| line.contains("the log cannot be written")));
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest: Vec<_> = said.collect();
    assert!(!rest.iter().any(|line| line.contains("written again")), "{rest:?}");
}

#[test]
fn it_leaves_no_core_file_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() }.write(directory.path());
    let (mut child, ..) = start(directory.path(), &["run", "--config", "gateway.yaml", "--demo-upstream"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let last: Vec<_> = core.split_whitespace().rev().take(3).collect();
    assert_eq!(last, ["bytes", "0", "0"], "{core}");
    terminate(&child);
    child.wait().unwrap();
}

#[test]
fn it_locks_the_memory_with_its_key_where_the_limit_permits() {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let directory = tempfile::tempdir().unwrap();
    Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() }.write(directory.path());
    let (mut child, ..) = start(directory.path(), &["run", "--config", "gateway.yaml", "--demo-upstream"]);
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let status = read("status");
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let kibibytes = |name| field(name).trim_end_matches(" kB").parse::<u64>().unwrap();
    let limits = read("limits");
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max locked memory")).unwrap();
    let limit = limit.split_whitespace().next().unwrap();
    let is_privileged = u64::from_str_radix(&field("CapEff:"), 16).unwrap() & CAP_IPC_LOCK != 0;
    let is_within = match limit.parse::<u64>() {
        // 16 MiB are left to the growth of the stack.
        Ok(limit) => limit / 1024 > kibibytes("VmPeak:") + (16 << 10),
        Err(_) => limit == "unlimited",
    };
    let permitted = is_privileged || is_within;
    assert_eq!(kibibytes("VmLck:") > 0, permitted, "{limit} of {status}");
    terminate(&child);
    child.wait().unwrap();
}

#[test]
fn a_state_directory_or_admin_socket_that_any_user_could_replace_is_refused() {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let directory = tempfile::tempdir().unwrap();
    Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() }.write(directory.path());
    let (config, open) = (directory.path().join("gateway.yaml"), directory.path().join("open"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(open.join("own")).unwrap();
    let written = std::fs::read_to_string(&config).unwrap();
    for (key, code) in [
        ("state_directory: open/own\n", "file.writable_by_all"),
        ("admin: open/own/admin.sock\n", "admin.open_directory"),
    ] {
        let rest: String = written
            .lines()
            .filter(|line| !line.starts_with(key.split(':').next().unwrap()))
            .flat_map(|line| [line, "\n"])
            .collect();
        std::fs::write(&config, format!("{rest}{key}")).unwrap();
        for (mode, is_good) in [(0o755, true), (0o777, false)] {
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
            let checked = gateway(directory.path(), &["check", "--config", "gateway.yaml"]).output().unwrap();
            let said = [checked.stdout, checked.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(checked.status.success(), is_good, "{key} {mode:o}: {said}");
            assert!(is_good || said.contains("writable"), "{code}: {said}");
        }
    }
}

#[test]
fn a_mounted_key_of_root_is_read_through_the_group() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: only root can give a file to root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() }.write(directory.path());
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(directory.path(), 0o755);
    let program = directory.path().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_cluster-gateway"), &program).unwrap();
    let config = std::fs::read_to_string(directory.path().join("gateway.yaml")).unwrap();
    let rest: String = config
        .lines()
        .filter(|line| !line.starts_with("state_directory") && !line.starts_with("admin"))
        .flat_map(|line| [line, "\n"])
        .collect();
    std::fs::write(directory.path().join("gateway.yaml"), rest).unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "key") {
            chown(&path, Some(0), Some(54_321)).unwrap();
        }
    }
    for (permissions, is_good) in
        [(0o440, true), (0o640, true), (0o660, false), (0o644, false), (0o650, false)]
    {
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "key") {
                mode(&path, permissions);
            }
        }
        let mut command = Command::new(&program);
        command.args(["check", "--config", "gateway.yaml"]).current_dir(directory.path());
        let checked = command.uid(65_534).gid(54_321).output().unwrap();
        let said = [checked.stdout, checked.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(checked.status.success(), is_good, "{permissions:o}: {said}");
        assert!(is_good || said.contains("accessible to other users") && said.contains("fsGroup"), "{said}");
    }
}
