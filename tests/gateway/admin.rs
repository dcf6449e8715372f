//! The admin socket, by the commands that people use.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::harness::{Setup, TestGateway, patiently, request_h2};

fn administered() -> TestGateway {
    Setup { more: "admin: admin.sock", ..Setup::new() }.start()
}

/// `cluster-gateway ARGUMENTS` for the gateway's socket: exit code, standard output, standard error.
fn command(gateway: &TestGateway, arguments: &[&str]) -> (Option<i32>, String, String) {
    let socket = gateway.path("admin.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"))
        .args(arguments)
        .arg("--socket")
        .arg(&socket)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// True for tables that fit 80 columns.
fn is_narrow(said: &str) -> bool {
    said.lines().all(|line| line.chars().count() <= 80)
}

/// The same under `--json`: the result.
fn result(gateway: &TestGateway, arguments: &[&str]) -> Value {
    let (code, said, _) = command(gateway, &[arguments, &["--json"]].concat());
    let envelope: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &envelope["ok"]), (Some(0), &true.into()), "{said}");
    envelope["result"].clone()
}

#[tokio::test]
async fn sessions_are_listed_and_closed_by_serial_number_and_no_others() {
    let gateway = administered();
    let (user, node) = (gateway.user(), gateway.node());
    let (_first, cut) = gateway.open_h2(&user).await;
    let (_second, cut_too) = gateway.open_h2(&user).await;
    let (mut stays, running) = gateway.open_h2(&node).await;
    // A caller's handshake is over before the gateway's is.
    let mut listed = eventually("all are registered", || {
        let listed = result(&gateway, &["sessions"]).as_array().unwrap().clone();
        (listed.len() == 3).then_some(listed)
    });
    listed.sort_by_key(|session| session["role"].as_str().unwrap().to_owned());
    let roles: Vec<_> = listed.iter().map(|session| session["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["api-user", "api-user", "node-agent"]);
    assert_eq!(listed[0]["serial_number"], user.serial_number());
    assert_eq!((&listed[0]["alpn"], &listed[0]["resumed"]), (&"h2".into(), &false.into()));
    let (_, said, _) = command(&gateway, &["sessions"]);
    assert!(said.starts_with("ROLE") && said.contains("alice") && is_narrow(&said), "{said}");
    let (_, said, _) = command(&gateway, &["sessions", "--output", "wide"]);
    assert!(said.starts_with("SESSION") && said.contains(&user.serial_number()), "{said}");

    let closed = result(&gateway, &["close", &user.serial_number()]);
    assert_eq!(closed["connections_closed"], 2);
    let _ = (patiently(cut).await, patiently(cut_too).await);
    let line = gateway.line("connection_closed", |_| true);
    assert_eq!((&line["reason"], &line["name"]), (&"connection.operator".into(), &"alice".into()));
    assert_eq!(result(&gateway, &["sessions"]).as_array().unwrap().len(), 1);
    let (code, said, _) = command(&gateway, &["close", &user.serial_number()]);
    assert_eq!((code, said.starts_with("No connection is open with")), (Some(1), true), "{said}");
    let path = format!("/v1/nodes/{}/state", crate::harness::NODE);
    let answer = patiently(stays.send_request(request_h2("GET", &path, ""))).await.unwrap();
    assert_eq!(answer.status(), 200);
    running.abort();
}

#[tokio::test]
async fn the_last_hundred_refusals_are_kept_with_their_certificates() {
    let gateway = administered();
    let mallory = Cluster::new("prod").leaf("api-user", "mallory");
    for _ in 0..101 {
        gateway.refused(None).await;
    }
    gateway.refused(Some(&mallory)).await;
    gateway.line("handshake_refused", |line| line["serial_number"] == mallory.serial_number());
    // Whether a client without a certificate reads its alert is known a little later.
    let kept = eventually("a hundred without a certificate, and one with", || {
        Some(result(&gateway, &["rejected"])).filter(|kept| kept.as_array().unwrap().len() == 101)
    });
    let kept = kept.as_array().unwrap();
    let (with, without): (Vec<_>, Vec<_>) = kept.iter().partition(|kept| kept["certificate"].is_string());
    assert_eq!((with.len(), without.len()), (1, 100));
    assert_eq!(with[0]["serial_number"], mallory.serial_number());
    assert!(with[0]["reason"].as_str().unwrap().starts_with("chain."));
    assert!(kept.is_sorted_by(|newer, older| newer["time"].as_str() >= older["time"].as_str()), "{kept:?}");
    let pem = with[0]["certificate"].as_str().unwrap();
    assert_eq!(
        pem.split_whitespace().collect::<String>(),
        mallory.certificate_pem.split_whitespace().collect::<String>()
    );
    let (_, said, _) = command(&gateway, &["rejected"]);
    assert!(said.contains("certificate.missing") && said.contains("user-mallory"), "{said}");
    assert!(is_narrow(&said), "{said}");
    let (_, said, _) = command(&gateway, &["rejected", "--output", "wide"]);
    assert!(said.contains("DETAIL") && said.contains(&mallory.serial_number()), "{said}");
}

#[tokio::test]
async fn status_tells_what_is_in_force() {
    let gateway = administered();
    let status = result(&gateway, &["status"]);
    assert_eq!((&status["generation"], &status["crl"][0]["number"]), (&1.into(), &"1".into()));
    let (code, said, _) = command(&gateway, &["status"]);
    assert!(code == Some(0) && said.starts_with("version") && said.contains("CRL OF ISSUER"), "{said}");
    let (table, next_update) =
        (&said[said.find("CRL OF ISSUER").unwrap()..], &status["crl"][0]["next_update"]);
    assert!(is_narrow(table) && !table.contains(next_update.as_str().unwrap()), "{table}");
    let (_, said, _) = command(&gateway, &["status", "--output", "wide"]);
    assert!(said.contains("THIS UPDATE") && said.contains(next_update.as_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_terminal_shows_the_freshness_of_a_crl_in_color() {
    let gateway = administered();
    let on_terminal = |settings: &[(&str, &str)]| {
        let program = env!("CARGO_BIN_EXE_cluster-gateway");
        let line = format!("{program} status --socket {}", gateway.path("admin.sock").display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        command.envs(settings.iter().copied()).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let colored = on_terminal(&[]);
    assert!(colored.contains("\u{1b}[32mcurrent\u{1b}[0m"), "{colored:?}");
    let plain = on_terminal(&[("NO_COLOR", "1")]);
    assert!(plain.contains("current") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[tokio::test]
async fn reload_tells_what_came_of_it() {
    let gateway = administered();
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[]));
    assert!(result(&gateway, &["reload"])["generation"].as_u64().unwrap() >= 2);
    gateway.replace("cluster.crl", gateway.cluster.crl(1, &[]));
    let (code, _, said) = command(&gateway, &["reload"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.contains("caused by: "), "{said}");
    assert!(said.contains("hint: a newer CRL was in force"), "as from `check`: {said}");
}

#[tokio::test]
async fn the_configuration_names_the_socket() {
    let gateway = administered();
    let config = gateway.path("gateway.yaml");
    let status = |config: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
        command.args(["status", "--config"]).arg(config).output().unwrap()
    };
    assert!(status(&config).status.success());
    let text = std::fs::read_to_string(&config).unwrap();
    let without = gateway.path("without.yaml");
    std::fs::write(&without, text.replace("admin: admin.sock", "")).unwrap();
    let output = status(&without);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("hint: "));
}

#[tokio::test]
async fn a_gateway_can_be_asked_when_its_configuration_is_broken() {
    let gateway = administered();
    let config = gateway.path("gateway.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    let ask = |command: &str| {
        let mut asking = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
        asking.args([command, "--json", "--config"]).arg(&config).output().unwrap()
    };
    for broken in [
        good.replace("cluster.crl", "gone.crl"),
        good.clone() + "unknown: 1\n",
        good.clone() + "broken: [\n",
        good.replace("admin: admin.sock", "admin: admin.sock # here").replace("routes:", "\troutes: {"),
    ] {
        gateway.replace("gateway.yaml", &broken);
        for command in ["status", "sessions", "rejected"] {
            let output = ask(command);
            assert!(output.status.success(), "{broken}: {}", String::from_utf8_lossy(&output.stdout));
        }
        let said: Value = serde_json::from_slice(&ask("reload").stdout).unwrap();
        assert_eq!(said["error"]["code"], "gateway.configuration", "{said}");
        let causes = said["error"]["causes"].as_array().unwrap();
        assert!(causes[0].as_str().unwrap().contains("gateway.yaml"), "which problems: {said}");
    }
    for (without, code) in [
        (good.replace("admin: admin.sock", "threads: ["), "gateway.configuration"),
        (good.replace("admin: admin.sock", "admin: [1]"), "gateway.configuration"),
        (good.replace("admin: admin.sock", ""), "admin.no_socket"),
    ] {
        gateway.replace("gateway.yaml", &without);
        let said: Value = serde_json::from_slice(&ask("status").stdout).unwrap();
        assert_eq!(said["error"]["code"], code, "{without}: {said}");
    }
}

#[tokio::test]
async fn what_only_a_restart_can_follow_is_told_until_it_is_undone() {
    let gateway = administered();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    assert_eq!(result(&gateway, &["reload"])["needs_restart"], serde_json::json!([]));
    gateway.replace("gateway.yaml", config.replace("threads: 2", "threads: 1"));
    assert_eq!(result(&gateway, &["reload"])["needs_restart"], serde_json::json!(["threads"]));
    assert!(command(&gateway, &["reload"]).1.contains("Restart the gateway to apply: threads."));
    assert_eq!(result(&gateway, &["status"])["reload"]["needs_restart"], serde_json::json!(["threads"]));
    assert!(command(&gateway, &["status"]).1.contains("restart needed for   threads"));
    gateway.replace("gateway.yaml", config);
    assert!(!command(&gateway, &["reload"]).1.contains("Restart"));
    assert!(!command(&gateway, &["status"]).1.contains("restart"));
}

#[tokio::test]
async fn where_no_gateway_answers_the_command_says_so() {
    let mut gateway = administered();
    let socket = gateway.path("admin.sock");
    assert_eq!(std::fs::symlink_metadata(&socket).unwrap().mode() & 0o777, 0o600);
    gateway.running().stop();
    gateway.join();
    assert!(!socket.exists());
    let (code, _, said) = command(&gateway, &["status"]);
    assert!(code == Some(3) && said.contains("no gateway answers") && said.contains("hint: "), "{said}");
    assert_eq!(command(&gateway, &["close", "zzz"]).0, Some(2));
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_words() {
    let gateway = administered();
    let long = "x".repeat(10_000);
    for line in ["", "{}", "status", "{\"command\":\"close\",\"serial_number\":\"zz\"}", &long] {
        let mut stream = UnixStream::connect(gateway.path("admin.sock")).unwrap();
        // Of what is too long, the rest is never read.
        let _ = stream.write_all(format!("{line}\n").as_bytes());
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_ok() {
            assert!(answer.contains("\"code\":\"admin.request\""), "{line}: {answer}");
        }
    }
    result(&gateway, &["status"]);
}

/// Even with the mode opened up, another user is not answered. Only root can try.
#[tokio::test]
async fn another_user_is_not_answered() {
    let gateway = administered();
    let directory = gateway.path("admin.sock").parent().unwrap().to_owned();
    if std::fs::metadata(&directory).unwrap().uid() != 0 {
        return;
    }
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&directory, 0o755);
    open(&gateway.path("admin.sock"), 0o666);
    let script = r#"use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(shift) or die $!;
                    print $s qq({"command":"status"}\n); print <$s>;"#;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "perl", "-e", script])
        .arg(gateway.path("admin.sock"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("admin.not_allowed"), "{said} {}", String::from_utf8_lossy(&output.stderr));
}
