//! `distribute` and `bundle`, against a real sshd and other readers.

mod bundle;
mod cut;
mod fleet;
mod keyless;
mod sshd;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::home::Home;
use crate::namespace;
use sshd::{Login, Machine};

/// Home with the API user alice.
pub(super) fn with_alice() -> Home {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home
}

fn deliver(machine: &Machine, home: &Home, to: &str, more: &[&str]) -> crate::home::Finished {
    machine.run(home, &[&["distribute", "api-user/alice", "--to", to], more].concat())
}

/// File names in a directory of the machine.
fn names(machine: &Machine, directory: &str) -> Vec<String> {
    machine.files(directory).into_keys().collect()
}

/// Audit entries of deliveries: outcome and details.
fn deliveries(home: &Home) -> Vec<(String, Value)> {
    let entries = home.ok(&["audit", "list"]);
    let entries = entries.as_array().expect("entries").iter();
    entries
        .filter(|entry| entry["action"] == "certificate.deliver")
        .map(|entry| (entry["outcome"].as_str().expect("text").to_owned(), entry["details"].clone()))
        .collect()
}

#[test]
fn every_file_arrives_with_its_mode_and_content() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "etc/cluster");
    let report = deliver(&machine, &home, &to, &[]).result();
    assert_eq!(machine.mode("etc/cluster"), 0o700);
    let here = |name: &str| fs::read(home.path(name)).expect("a file");
    let expected = [
        ("cluster.crl", (0o644, here("cluster.crl"))),
        ("cluster.crt", (0o644, here("cluster.crt"))),
        ("user.crt", (0o644, here("issued/user-alice.crt"))),
        ("user.key", (0o600, here("issued/user-alice.key"))),
    ];
    assert_eq!(machine.files("etc/cluster"), expected.map(|(name, file)| (name.to_owned(), file)).into());
    assert_eq!(report["identity"], "api-user/alice");
    assert_eq!(report["destination"], to.as_str());
    let files = report["delivered"]["files"].as_array().expect("files");
    assert_eq!(files.iter().filter(|file| file["sha256"].is_string()).count(), 3, "not of the key: {report}");
    let [(outcome, details)] = &deliveries(&home)[..] else { panic!("one entry") };
    assert_eq!((outcome.as_str(), &details["destination"]), ("success", &json!(to)));
    assert_eq!(details["with_key"], true);
    home.ok(&["audit", "verify"]);
}

#[test]
fn files_have_the_names_that_the_service_is_configured_with() {
    let (machine, home) = (Machine::start(), with_alice());
    home.ok(&["create-control", "api.example.com"]);
    let node = home.ok(&["create-node"])["name"].as_str().expect("a name").to_owned();
    let to = machine.destination("node1", "cluster");
    machine.run(&home, &["distribute", "control-service/api.example.com", "--to", &to]).result();
    machine.run(&home, &["distribute", &format!("node-agent/{node}"), "--to", &to]).result();
    deliver(&machine, &home, &to, &["--as", "plugin"]).result();
    let expected = [
        "cluster.crl",
        "cluster.crt",
        "control-service.crt",
        "control-service.key",
        "node.crt",
        "node.key",
        "plugin.crt",
        "plugin.key",
    ];
    assert_eq!(names(&machine, "cluster"), expected);
}

#[test]
fn no_content_of_the_package_is_an_argument() {
    let (machine, home) = (Machine::with_login(Login::Chatty), with_alice());
    let to = machine.destination("node1", "cluster");
    // Output of a login shell is skipped, even if it resembles the protocol.
    deliver(&machine, &home, &to, &["--reload", "true 'secret reload'"]).result();
    let arguments = fs::read_to_string(machine.path("arguments")).expect("the arguments of ssh");
    let commands = fs::read_to_string(machine.path("commands")).expect("the commands over there");
    assert_eq!(commands.lines().count(), 1, "{commands}");
    assert!(commands.starts_with("exec sh -c 'script=$(dd bs=1 count="), "{commands}");
    for said in [arguments, commands] {
        for secret in ["BEGIN", "PRIVATE", "secret reload", "/cluster", "user.key"] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    }
}

#[test]
fn ssh_receives_no_secret_of_the_environment() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    let mut command = home.command(&["distribute", "api-user/alice", "--to", &to]);
    for variable in [
        "BAO_TOKEN",
        "CLUSTER_CA_KMS_SECRET_ID",
        "CLUSTER_CA_KMS_TOKEN",
        "CLUSTER_CA_PKCS11_PIN",
        "VAULT_TOKEN",
    ] {
        command.env(variable, "a-secret-of-the-ca");
    }
    let output = command.env("PATH", machine.search_path()).output().expect("cluster-ca starts");
    assert!(output.status.success(), "{output:?}");
    let environment = fs::read_to_string(machine.path("environment")).expect("the environment of ssh");
    assert!(environment.contains("PATH=") && !environment.contains("a-secret-of-the-ca"), "{environment}");
}

#[test]
fn an_open_directory_without_other_files_is_closed() {
    let (machine, home) = (Machine::start(), with_alice());
    let own = machine.path("cluster");
    fs::create_dir(&own).expect("a directory");
    fs::write(own.join("user.crt"), "copied by hand").expect("a file");
    fs::set_permissions(&own, Permissions::from_mode(0o755)).expect("a mode");
    deliver(&machine, &home, &machine.destination("node1", "cluster"), &[]).result();
    assert_eq!(machine.mode("cluster"), 0o700);
}

#[test]
fn a_shared_directory_is_refused_unchanged() {
    let (machine, home) = (Machine::start(), with_alice());
    let shared = machine.path("etc");
    fs::create_dir_all(shared.join("other")).expect("directories");
    for entry in ["file", "link", "..hidden"] {
        let open = format!("open-{entry}");
        fs::create_dir(machine.path(&open)).expect("a directory");
        let inside = machine.path(&open).join(entry);
        match entry {
            "link" => std::os::unix::fs::symlink("nowhere", inside).expect("a link"),
            _ => fs::write(inside, "somebody's").expect("a file"),
        }
        fs::set_permissions(machine.path(&open), Permissions::from_mode(0o755)).expect("a mode");
        let refusal = deliver(&machine, &home, &machine.destination("node1", &open), &[]).refusal();
        assert_eq!(refusal.code, "remote.shared_directory", "{entry}: {refusal:?}");
        assert_eq!((machine.mode(&open), names(&machine, &open)), (0o755, vec![entry.to_owned()]));
    }
    for mode in [0o755, 0o1777, 0o2750] {
        fs::set_permissions(&shared, Permissions::from_mode(mode)).expect("a mode");
        let refusal = deliver(&machine, &home, &machine.destination("node1", "etc"), &[]).refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.shared_directory", 4), "{refusal:?}");
        assert_eq!((machine.mode("etc"), names(&machine, "etc")), (mode, vec!["other".to_owned()]));
    }
    if rustix::process::geteuid().is_root() {
        let foreign = machine.path("foreign");
        fs::create_dir(&foreign).expect("a directory");
        std::os::unix::fs::chown(&foreign, Some(1), None).expect("root");
        let to = machine.destination("node1", "foreign");
        let refusal = deliver(&machine, &home, &to, &["--owner", "0"]).refusal();
        assert_eq!(refusal.code, "remote.foreign_owner");
        assert!(names(&machine, "foreign").is_empty());
    }
}

/// Owner, group and mode of a file of the machine.
fn ownership(machine: &Machine, name: &str) -> (u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(machine.path(name)).expect("a file");
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

#[test]
fn a_service_that_runs_as_another_account_owns_its_files() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: only root can write files of another account");
        return;
    }
    let (machine, home) = (Machine::start(), with_alice());
    // A directory that was given to the account stays its own, and nothing is written there as root.
    let own = machine.path("service");
    fs::create_dir(&own).expect("a directory");
    std::os::unix::fs::chown(&own, Some(54_321), Some(54_322)).expect("root");
    fs::set_permissions(&own, Permissions::from_mode(0o700)).expect("a mode");
    let reload = format!("id -u >{}", machine.path("reloaded").display());
    deliver(&machine, &home, &machine.destination("node1", "service"), &["--reload", &reload]).result();
    assert_eq!(ownership(&machine, "service/user.key"), (54_321, 54_322, 0o600));
    assert_eq!(ownership(&machine, "service/user.crt"), (54_321, 54_322, 0o644));
    assert_eq!(fs::read_to_string(machine.path("reloaded")).expect("it ran").trim(), "0", "as root");

    let asked = ["--owner", "54321", "--group", "54323", "--mode", "0640"];
    deliver(&machine, &home, &machine.destination("node1", "new/one"), &asked).result();
    assert_eq!(ownership(&machine, "new/one"), (54_321, 54_323, 0o750));
    assert_eq!(ownership(&machine, "new/one/user.key"), (54_321, 54_323, 0o640));
    let refusal =
        deliver(&machine, &home, &machine.destination("node1", "other"), &["--owner", "no-such-one"])
            .refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.account", 4), "{refusal:?}");

    // The account cannot lead root to another file.
    let victim = machine.path("victim");
    fs::write(&victim, "precious").expect("a file");
    fs::remove_file(own.join("user.crt")).expect("removed");
    std::os::unix::fs::symlink(&victim, own.join("user.crt")).expect("a link");
    let refusal = deliver(&machine, &home, &machine.destination("node1", "service"), &[]).refusal();
    assert_eq!(refusal.code, "remote.occupied", "{refusal:?}");
    assert_eq!(fs::read_to_string(&victim).expect("it"), "precious");
}

#[test]
fn a_delivery_that_changes_nothing_says_so() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    let reload = format!("echo x >>{}", machine.path("reloaded").display());
    let first = deliver(&machine, &home, &to, &["--reload", &reload]).result();
    assert_eq!(first["delivered"]["changed"], true);
    let files = machine.files("cluster");
    let second = deliver(&machine, &home, &to, &["--reload", &reload]).result();
    assert_eq!(second["delivered"]["changed"], false);
    assert_eq!(machine.files("cluster"), files);
    let reloads = || fs::read_to_string(machine.path("reloaded")).expect("it ran");
    assert_eq!(reloads(), "x\n", "nothing to reload");
    assert_eq!(deliveries(&home).len(), 1, "nothing to record");
    fs::set_permissions(machine.path("cluster/user.key"), Permissions::from_mode(0o644)).expect("a mode");
    let third = deliver(&machine, &home, &to, &["--reload", &reload]).result();
    assert_eq!((third["delivered"]["changed"].as_bool(), machine.files("cluster")), (Some(true), files));
    assert_eq!(reloads(), "x\nx\n");
}

#[test]
fn an_occupied_name_keeps_all_former_files() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    deliver(&machine, &home, &to, &[]).result();
    fs::remove_file(machine.path("cluster/cluster.crl")).expect("a file");
    fs::create_dir(machine.path("cluster/cluster.crl")).expect("a directory");
    fs::write(machine.path("cluster/user.crt"), "old").expect("a file");
    let before = machine.files("cluster");
    let reload = format!("touch {}", machine.path("reloaded").display());
    let refusal = deliver(&machine, &home, &to, &["--reload", &reload]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.occupied", 4));
    assert_eq!(machine.files("cluster"), before);
    assert!(!machine.path("reloaded").exists(), "no reload without new files");
}

#[test]
fn an_unreachable_machine_is_reported() {
    let (machine, home) = (Machine::start(), with_alice());
    let refusal = deliver(&machine, &home, "down:/etc/cluster", &[]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("network.unreachable", 4));
    assert!(refusal.words().contains("Connection refused"), "{refusal:?}");
    fs::write(machine.path("authorized_keys"), "").expect("a file");
    let refusal = deliver(&machine, &home, &machine.destination("node1", "cluster"), &[]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("network.denied", 4));
    let outcomes: Vec<_> =
        deliveries(&home).into_iter().map(|(outcome, details)| (outcome, details["error"].clone())).collect();
    let failed = |code: &str| ("failure".to_owned(), json!(code));
    assert_eq!(outcomes, [failed("network.unreachable"), failed("network.denied")]);
}

#[test]
fn a_changed_or_unknown_host_key_stops_the_delivery() {
    let (machine, home) = (Machine::start(), with_alice());
    for (name, code) in [("changed", "network.host_key_changed"), ("unknown", "network.host_key_unknown")] {
        let refusal = deliver(&machine, &home, &machine.destination(name, "cluster"), &[]).refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), (code, 4), "{refusal:?}");
    }
    assert!(!machine.path("cluster").exists());
}

#[test]
fn a_slow_machine_hits_the_time_limit() {
    let (machine, home) = (Machine::start(), with_alice());
    machine.configure_client("Host silent\n ProxyCommand sleep 60\n");
    let refusal = deliver(&machine, &home, "silent:/etc/cluster", &["--timeout", "1s"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("network.timeout", 4), "{refusal:?}");
}

#[test]
fn a_failed_reload_is_reported_and_keeps_the_new_files() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    let refusal =
        deliver(&machine, &home, &to, &["--reload", "echo no such unit; exit 3", "--forget-key"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.reload", 4));
    assert_eq!(refusal.causes, ["no such unit"]);
    assert_eq!(names(&machine, "cluster").len(), 4);
    assert!(home.path("issued/user-alice.key").exists(), "the key is kept until all is well");
    let [(outcome, details)] = &deliveries(&home)[..] else { panic!("one entry") };
    assert_eq!((outcome.as_str(), &details["reload_status"]), ("success", &json!(3)));
}

#[test]
fn an_unfinished_reload_differs_from_an_unsure_delivery() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    let more = ["--reload", "sleep 60", "--timeout", "3s", "--forget-key"];
    let refusal = deliver(&machine, &home, &to, &more).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.reload", 4), "{refusal:?}");
    assert_eq!(names(&machine, "cluster").len(), 4);
    assert!(home.path("issued/user-alice.key").exists(), "the key is kept until all is well");
}

#[test]
fn a_full_disk_keeps_the_former_files() {
    if !namespace::is_inside(module_path!(), "a_full_disk_keeps_the_former_files") {
        return;
    }
    let (machine, home) = (Machine::start(), with_alice());
    let disk = machine.path("disk");
    fs::create_dir(&disk).expect("a directory");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"]).arg(&disk);
    assert!(mount.status().expect("mount starts").success(), "mount needs root");
    let to = machine.destination("node1", "disk");
    deliver(&machine, &home, &to, &[]).result();
    let before = machine.files("disk");
    let mut refusals = 0;
    for pages in 0..6 {
        let ballast = disk.join("ballast");
        let _ = fs::remove_file(&ballast);
        fill(&disk, &ballast, pages);
        let finished = deliver(&machine, &home, &to, &["--reload", "exit 9"]);
        fs::remove_file(&ballast).expect("the ballast");
        assert_eq!(machine.files("disk"), before, "{pages} pages: {finished:?}");
        if finished.exit == Some(0) {
            assert_eq!(finished.result()["delivered"]["changed"], false, "there was room to compare");
            break;
        }
        let refusal = finished.refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.write", 4), "{pages} pages: {refusal:?}");
        refusals += 1;
    }
    let _ = Command::new("umount").arg(&disk).status();
    assert!((1..6).contains(&refusals), "{refusals} of 6 found the disk full");
}

/// Leave `pages` pages of 4 KiB free.
fn fill(disk: &Path, ballast: &Path, pages: u64) {
    let room = rustix::fs::statvfs(disk).expect("statvfs").f_bavail;
    let bytes = usize::try_from(room.saturating_sub(pages) * 4096).expect("a small disk");
    fs::write(ballast, vec![0; bytes]).expect("there is room");
}

#[test]
fn a_delivered_key_can_be_removed_locally() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    let report = deliver(&machine, &home, &to, &["--forget-key"]).result();
    let key = home.path("issued/user-alice.key");
    assert!(!key.exists() && report["key_forgotten"].is_string(), "{report}");
    let shown = home.ok(&["show", "api-user/alice"]);
    assert!(shown["key"].is_null() && shown["key_forgotten_at"].is_string(), "{shown}");
    let entries = home.ok(&["audit", "list"]);
    let last = entries.as_array().and_then(|entries| entries.last()).expect("an entry");
    assert_eq!((&last["action"], &last["details"]["destinations"]), (&json!("key.forget"), &json!([to])));
    home.ok(&["audit", "verify"]);

    let there = machine.files("cluster")["user.key"].clone();
    fs::remove_file(machine.path("cluster/user.crt")).expect("a file");
    deliver(&machine, &home, &to, &[]).result();
    let files = machine.files("cluster");
    assert_eq!((&files["user.key"], files.len()), (&there, 4), "the certificate comes again, the key stays");
    let refusal = deliver(&machine, &home, &to, &["--forget-key"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("store.no_key", 1));
}

#[test]
fn certificates_that_gateways_refuse_are_not_delivered() {
    let (machine, home) = (Machine::start(), with_alice());
    home.ok(&["create-api-user", "bob"]);
    let to = machine.destination("node1", "cluster");
    let refused = |target: &str| machine.run(&home, &["distribute", target, "--to", &to]).refusal().code;
    assert_eq!(refused("api-user/nobody"), "ca.unknown_certificate");
    home.ok(&["revoke", "api-user/bob"]);
    assert_eq!(refused("api-user/bob"), "ca.not_valid");
    let key = home.path("issued/user-alice.key");
    let own = fs::read(&key).expect("a key");
    fs::copy(home.path("issued/user-bob.key"), &key).expect("a copy");
    assert_eq!(refused("api-user/alice"), "ca.file_foreign");
    fs::write(&key, own).expect("a key");
    fs::copy(home.path("issued/user-bob.crt"), home.path("issued/user-alice.crt")).expect("a copy");
    assert_eq!(refused("api-user/alice"), "ca.file_foreign");
    assert!(!machine.path("cluster").exists());
}

#[test]
fn an_outdated_crl_is_not_delivered() {
    let (machine, home) = (Machine::start(), with_alice());
    home.ok(&["create-api-user", "bob"]);
    let old = fs::read(home.path("cluster.crl")).expect("a list");
    home.ok(&["revoke", "api-user/bob"]);
    fs::write(home.path("cluster.crl"), old).expect("an older copy");
    let refusal = deliver(&machine, &home, &machine.destination("node1", "cluster"), &[]).refusal();
    assert_eq!(refusal.code, "ca.crl_not_recorded", "{refusal:?}");
    assert_eq!(home.refused(&["bundle", "api-user/alice"]).code, "ca.crl_not_recorded");
    assert!(!machine.path("cluster").exists());
    home.ok(&["crl", "publish"]);
    deliver(&machine, &home, &machine.destination("node1", "cluster"), &[]).result();
}

#[test]
fn arguments_that_could_be_options_or_commands_are_refused() {
    let (machine, home) = (Machine::start(), with_alice());
    for to in [
        "-oProxyCommand=id:/etc/cluster",
        "node1:/etc/$(id)",
        "a b@node1:/etc",
        "node1:/etc/a\nb",
        "node1:etc",
    ] {
        let finished = machine.run(&home, &["distribute", "api-user/alice", &format!("--to={to}")]);
        assert_eq!(finished.exit, Some(2), "{to}: {finished:?}");
    }
    for stem in ["cluster", "../x", "-x", "a b"] {
        let stem = format!("--as={stem}");
        let finished = deliver(&machine, &home, "node1:/etc/cluster", &[stem.as_str()]);
        assert_eq!(finished.exit, Some(2), "{stem}: {finished:?}");
    }
    assert!(!machine.path("arguments").exists(), "ssh was never run");
}

#[test]
fn a_dry_run_opens_no_connection() {
    let (machine, home) = (Machine::start(), with_alice());
    let plan = deliver(&machine, &home, "down:/etc/cluster", &["--dry-run", "--reload", "true"]).result();
    assert_eq!(plan["files"][0]["name"], "user.key");
    assert_eq!(plan["reload"], "true");
    assert!(!machine.path("arguments").exists(), "ssh was never run");
    assert!(deliveries(&home).is_empty());
}
