//! A backup is whole or refused, is made while others work, and comes back without forgetting a revocation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_ca::clock::{parse_time, rfc3339};
use serde_json::Value;

use crate::crash::strace::Point;
use crate::crash::{killed_at, points, stopped_at};
use crate::eventually::eventually;
use crate::home::{Finished, Home, Refusal};

const PASSWORD: &str = "seven random words would be better";

/// A directory for backups beside the homes, with the file of their password.
struct Vault {
    directory: tempfile::TempDir,
}

impl Vault {
    fn new() -> Self {
        let vault = Self { directory: tempfile::tempdir().expect("a directory") };
        vault.write_password("password", PASSWORD);
        vault
    }

    fn write_password(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        path
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("text").to_owned()
    }

    fn password(&self) -> [String; 2] {
        ["--password-file".to_owned(), self.path("password")]
    }

    /// Makes the backup `name` of a home.
    fn back_up(&self, home: &Home, name: &str, more: &[&str]) -> String {
        let file = self.path(name);
        self.run(home, &[&["backup", &file], more].concat()).result();
        file
    }

    fn restore(&self, home: &Home, file: &str, more: &[&str]) -> Finished {
        self.run(home, &[&["restore", file], more].concat())
    }

    fn run_as_text(&self, home: &Home, arguments: &[&str]) -> Finished {
        let password = self.password();
        let arguments = arguments.iter().copied().chain(password.iter().map(String::as_str));
        home.run(&arguments.collect::<Vec<_>>())
    }

    fn refused(&self, home: &Home, arguments: &[&str]) -> Refusal {
        self.run(home, arguments).refusal()
    }

    fn run(&self, home: &Home, arguments: &[&str]) -> Finished {
        let password = self.password();
        let arguments: Vec<&str> =
            ["--json"].iter().chain(arguments).copied().chain(password.iter().map(String::as_str)).collect();
        home.run(&arguments)
    }
}

fn serial_number(home: &Home, target: &str) -> String {
    home.ok(&["show", target])["serial_number"].as_str().expect("text").to_owned()
}

/// What the inventory says, but for where this home is.
fn certificates(home: &Home) -> String {
    home.ok(&["list"]).to_string().replace(home.path("").to_str().expect("text"), "HOME/")
}

fn crl_number(home: &Home) -> u64 {
    let inspected = home.ok(&["inspect", home.path("cluster.crl").to_str().expect("text")]).to_string();
    let (_, after) = inspected.split_once("\"crl_number\":").unwrap_or_else(|| panic!("{inspected}"));
    after
        .trim_start_matches('"')
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .expect("a number")
}

fn is_on_crl(home: &Home, serial_number: &str) -> bool {
    home.ok(&["inspect", home.path("cluster.crl").to_str().expect("text")])
        .to_string()
        .contains(serial_number)
}

fn crl_of(home: &Home) -> String {
    home.path("cluster.crl").to_str().expect("text").to_owned()
}

fn healthy(home: &Home) {
    let finished = home.run(&["doctor"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
}

/// A home with a user who is revoked and one who is not.
fn lived_in() -> Home {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "bob"]);
    home.ok(&["revoke", "api-user/bob"]);
    home.write("hosts.yaml", "deliveries: []\n");
    home
}

#[test]
fn a_backup_comes_back_in_an_empty_home() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "whole.age", &["--with-issued"]);
    vault.run(&home, &["backup", "--verify", &file]).result();
    let other = Home::empty();
    let restored = vault.restore(&other, &file, &["--crl", &crl_of(&home)]).result();
    assert_eq!(restored["kept_inventory"], Value::Bool(false), "{restored}");
    for name in ["cluster.key", "cluster.crt", "cluster.crl", "hosts.yaml", "issued/user-alice.key"] {
        assert_eq!(fs::read(other.path(name)).ok(), fs::read(home.path(name)).ok(), "{name}");
    }
    assert_eq!(certificates(&other), certificates(&home));
    other.ok(&["audit", "verify"]);
    healthy(&other);
    other.ok(&["create-api-user", "carol"]);
    assert!(fs::read_dir(other.path("")).expect("a directory").flatten().all(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        !name.ends_with(".tmp") && name != ".restore"
    }));
}

#[test]
fn settings_behind_a_link_are_backed_up_too() {
    let (vault, home) = (Vault::new(), lived_in());
    fs::rename(home.path("hosts.yaml"), vault.path("hosts.yaml")).expect("moved");
    std::os::unix::fs::symlink(vault.path("hosts.yaml"), home.path("hosts.yaml")).expect("a link");
    let file = vault.back_up(&home, "whole.age", &[]);
    let other = Home::empty();
    vault.restore(&other, &file, &["--no-newer-crl"]).result();
    assert_eq!(fs::read_to_string(other.path("hosts.yaml")).ok().as_deref(), Some("deliveries: []\n"));
}

#[test]
fn keys_of_others_stay_at_home_unless_they_are_asked_for() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "few.age", &[]);
    let other = Home::empty();
    vault.restore(&other, &file, &["--no-newer-crl"]).result();
    assert!(!other.path("issued").exists());
}

#[test]
fn a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    let mistyped = vault.path("mistyped");
    let refused = vault.refused(&home, &["restore", &file, "--reconcile", "--certificates", &mistyped]);
    assert!(refused.code.starts_with("file.") && refused.words().contains("mistyped"), "{refused:?}");
    fs::rename(home.path("issued"), home.path("moved")).expect("renamed");
    home.write("issued", "not a directory");
    let half = vault.path("half.age");
    let refused = vault.refused(&home, &["backup", &half, "--with-issued"]);
    assert!(refused.code.starts_with("file."), "{refused:?}");
    assert!(!Path::new(&half).exists());
}

#[test]
fn a_backup_is_sealed_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "once.age", &[]);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let sealed = fs::read(&file).expect("a backup");
    let key = fs::read_to_string(home.path("cluster.key")).expect("a key");
    let line = key.lines().nth(1).expect("a line").as_bytes();
    assert!(!sealed.windows(line.len()).any(|window| window == line), "the key is readable in the backup");
    assert_eq!(vault.refused(&home, &["backup", &file]).code, "file.exists");
    assert_eq!(fs::read(&file).expect("a backup"), sealed);
    let left = fs::read_dir(vault.directory.path()).expect("a directory").count();
    assert_eq!(left, 2, "only the backup and the password are left");
}

#[test]
fn a_backup_altered_by_one_byte_is_refused_and_nothing_changes() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "good.age", &[]);
    let good = fs::read(&file).expect("a backup");
    let broken = vault.path("broken.age");
    for (at, code) in [
        (0, "sealed.foreign"),
        (40, "sealed.passphrase"),
        (80, "sealed.passphrase"),
        (130, "sealed.altered"),
        (good.len() / 2, "sealed.altered"),
        (good.len() - 1, "sealed.altered"),
    ] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&broken, bytes).expect("a file");
        let before = home.contents();
        let refusal = vault.refused(&home, &["restore", &broken, "--reconcile"]);
        let exit = if refusal.code == "sealed.passphrase" { 1 } else { 3 };
        assert_eq!(refusal.exit, exit, "{at}: {refusal:?}");
        assert!(
            [code, "sealed.foreign", "sealed.altered"].contains(&refusal.code.as_str()),
            "{at}: {refusal:?}"
        );
        assert!(home.contents() == before, "byte {at}: the home changed");
        assert_eq!(vault.refused(&home, &["backup", "--verify", &broken]).code, refusal.code);
    }
    fs::write(&broken, &good[..good.len() - 20]).expect("a file");
    assert_eq!(vault.refused(&home, &["restore", &broken]).code, "sealed.altered");
    let empty = Home::empty();
    assert_eq!(vault.refused(&empty, &["restore", &broken]).code, "sealed.altered");
    assert!(empty.contents().is_empty());
}

#[test]
fn another_password_opens_nothing_and_a_weak_one_seals_nothing() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "whole.age", &[]);
    let other = vault.write_password("other", "not the password at all");
    let refused = home.refused(&["backup", "--verify", &file, "--password-file", &other]);
    assert_eq!(refused.code, "sealed.passphrase");
    let weak = vault.write_password("weak", "short");
    let refused = home.refused(&["backup", &vault.path("weak.age"), "--password-file", &weak]);
    assert_eq!(refused.code, "sealed.weak_passphrase");
    assert!(refused.message.contains("cannot be created"), "{refused:?}");
    assert!(!Path::new(&vault.path("weak.age")).exists());
    assert_eq!(home.refused(&["backup", &vault.path("none.age")]).code, "usage.password", "nobody to ask");
}

#[test]
fn the_age_tool_opens_a_backup() {
    let vault = Vault::new();
    let file = vault.back_up(&lived_in(), "whole.age", &[]);
    // age asks on the terminal, which `script` plays.
    let decrypt = format!("age --decrypt -o {} {file}", vault.path("whole.tar"));
    let mut child = std::process::Command::new("script")
        .args(["-qec", &decrypt, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("script starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), format!("{PASSWORD}\n").as_bytes())
        .expect("the password is typed");
    assert!(child.wait().expect("age ends").success());
    let listing =
        std::process::Command::new("tar").args(["tf", &vault.path("whole.tar")]).output().expect("tar");
    let listing = String::from_utf8(listing.stdout).expect("text");
    let names: Vec<&str> = listing.lines().collect();
    assert_eq!(names, ["manifest.json", "ca.db", "cluster.key", "cluster.crt", "cluster.crl", "hosts.yaml"]);
}

#[test]
fn a_backup_is_made_while_others_issue_and_revoke() {
    let (vault, home) = (Vault::new(), lived_in());
    let mut children: Vec<_> = (0..3)
        .map(|n| {
            let mut command = home.command(&["create-node", "--count", "60", "--json"]);
            let mut revoke = home.command(&["create-api-user", &format!("user-{n}"), "--json"]);
            [&mut command, &mut revoke]
                .map(|command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"))
        })
        .collect::<Vec<_>>()
        .into_iter()
        .flatten()
        .collect();
    let files: Vec<PathBuf> =
        (0..3).map(|n| PathBuf::from(vault.back_up(&home, &format!("busy-{n}.age"), &[]))).collect();
    home.ok(&["revoke", "api-user/alice"]);
    for child in &mut children {
        assert!(child.wait().expect("ends").success());
    }
    for file in files {
        let other = Home::empty();
        vault.restore(&other, file.to_str().expect("text"), &["--no-newer-crl"]).result();
        other.ok(&["audit", "verify"]);
    }
}

#[test]
fn a_restore_that_would_unrevoke_is_refused() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    home.ok(&["revoke", "api-user/alice"]);
    let before = home.contents();
    let refused = vault.refused(&home, &["restore", &file]);
    assert_eq!((refused.exit, refused.code.as_str()), (1, "restore.forgets"), "{refused:?}");
    assert!(refused.hint.contains("--reconcile"), "{refused:?}");
    assert!(home.contents() == before, "a refused restore changed something");

    // The same with nothing left but the list.
    let alice = serial_number(&home, "api-user/alice");
    let rest = Home::empty();
    fs::copy(home.path("cluster.crl"), rest.path("cluster.crl")).expect("a copy");
    let refused = vault.refused(&rest, &["restore", &file]);
    assert_eq!(refused.code, "restore.unrevokes", "{refused:?}");
    let old_number = crl_number(&rest);
    let restored = vault.restore(&rest, &file, &["--reconcile"]).result();
    assert_eq!(restored["revocations"], 1, "{restored}");
    assert!(is_on_crl(&rest, &alice) && crl_number(&rest) > old_number);
    healthy(&rest);

    // And with the list of a gateway.
    let fresh = Home::empty();
    let crl = home.path("cluster.crl");
    let crl = crl.to_str().expect("text");
    assert_eq!(vault.refused(&fresh, &["restore", &file, "--crl", crl]).code, "restore.unrevokes");
    vault.restore(&fresh, &file, &["--crl", crl, "--reconcile"]).result();
    assert!(is_on_crl(&fresh, &alice) && crl_number(&fresh) > old_number);
    healthy(&fresh);
}

#[test]
fn a_restored_home_cannot_publish_over_a_list_it_has_not_seen() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    let backed_up = vault.path("old.crl");
    fs::copy(crl_of(&home), &backed_up).expect("a copy");
    let behind = home.duplicate();
    home.ok(&["revoke", "api-user/alice"]);
    let empty = Home::empty();
    for more in [&[][..], &["--reconcile"]] {
        let refused = vault.restore(&empty, &file, more).refusal();
        assert_eq!((refused.exit, refused.code.as_str()), (1, "restore.newest_crl_unknown"), "{refused:?}");
        for way in ["--gateway", "--crl", "--no-newer-crl"] {
            assert!(refused.hint.contains(way), "{refused:?}");
        }
        assert!(empty.contents().is_empty(), "a refused restore left something");
    }
    // A list that is older than the backup's says nothing of what came after it.
    let older = lived_in();
    assert_ne!(vault.restore(&empty, &file, &["--crl", &crl_of(&older)]).exit, Some(0), "another cluster's");
    let newer = vault.back_up(&home, "newer.age", &[]);
    let refused = vault.refused(&empty, &["restore", &newer, "--crl", &backed_up]);
    assert_eq!(refused.code, "restore.newest_crl_unknown", "{refused:?}");
    // Nor does a home that is older than the backup.
    let refused = vault.refused(&behind, &["restore", &newer]);
    assert_eq!(refused.code, "restore.newest_crl_unknown", "{refused:?}");

    // Who says that there is no newer one is on record; what is known to be newer counts all the same.
    let crl = crl_of(&home);
    let refused = vault.refused(&empty, &["restore", &file, "--no-newer-crl", "--crl", &crl]);
    assert_eq!(refused.code, "restore.unrevokes", "{refused:?}");
    // The former name of --no-newer-crl.
    vault.restore(&empty, &file, &["--no-newer-list"]).result();
    let told = empty.ok(&["audit", "list"]).to_string();
    assert!(told.contains("\"no_newer_crl\":true"), "{told}");
}

#[test]
fn a_list_that_cannot_be_read_is_no_leave_to_forget_it() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    home.ok(&["revoke", "api-user/alice"]);
    for name in ["ca.db", "ca.db-wal", "ca.db-shm"] {
        let _ = fs::remove_file(home.path(name));
    }
    home.write("ca.db", "what a broken disk left");
    let whole = fs::read_to_string(crl_of(&home)).expect("a list");
    let cut = &whole[..whole.trim_end().rfind('\n').expect("lines")];
    for damaged in [cut, "", "nothing of a list"] {
        home.write("cluster.crl", damaged);
        for more in [&[][..], &["--reconcile"], &["--no-newer-crl"]] {
            let before = home.contents();
            let refused = vault.refused(&home, &[&["restore", &file], more].concat());
            assert_eq!(
                (refused.exit, refused.code.as_str()),
                (1, "restore.crl_unreadable"),
                "{damaged:?} {more:?}: {refused:?}"
            );
            assert!(refused.message.contains("cluster.crl"), "{refused:?}");
            assert!(home.contents() == before, "a refused restore changed something");
        }
    }
    home.write("cluster.crl", &whole);
    assert_eq!(vault.restore(&home, &file, &["--reconcile"]).result()["revocations"], 1);
}

#[test]
fn adopted_certificates_are_revoked_by_when_they_were_issued() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    let reserved = |home: &Home, user: &str| {
        let shown = home.ok(&["show", user])["reserved_at"].clone();
        parse_time(shown.as_str().expect("text")).expect("a time")
    };
    let later_than = |time| eventually("a later second", || (crate::now() > time).then_some(()));
    later_than(reserved(&home, "api-user/alice"));
    home.ok(&["create-api-user", "carol"]);
    let issued = reserved(&home, "api-user/carol");
    let (from, until) = (rfc3339(issued), rfc3339(issued + time::Duration::SECOND));
    // The clock has gone on by the time that the certificate is found again.
    later_than(issued);
    for from_inventory in [true, false] {
        let victim = home.duplicate();
        if from_inventory {
            // Grown apart: neither has all of the other.
            let twin = Home::empty();
            vault.restore(&twin, &file, &["--no-newer-crl"]).result();
            twin.ok(&["create-api-user", "dave"]);
            let grown = vault.back_up(&twin, "grown.age", &[]);
            vault.restore(&victim, &grown, &["--reconcile"]).result();
        } else {
            for name in ["ca.db", "ca.db-wal", "ca.db-shm"] {
                let _ = fs::remove_file(victim.path(name));
            }
            vault.restore(&victim, &file, &["--reconcile"]).result();
        }
        assert_eq!(reserved(&victim, "api-user/carol"), issued, "from an inventory: {from_inventory}");
        victim.ok(&["audit", "verify"]);
        victim.ok(&["revoke", "--issued-after", &from, "--issued-before", &until, "--yes"]);
        assert_eq!(victim.ok(&["show", "api-user/carol"])["status"], "revoked");
        assert_eq!(victim.ok(&["show", "api-user/alice"])["status"], "valid");
    }
}

#[test]
fn what_was_being_issued_when_the_backup_was_made_is_taken_in() {
    let (vault, start) = (Vault::new(), lived_in());
    let command = ["create-api-user", "carol"];
    let mut met = 0;
    // Files get their modes between the two records of an issue.
    let modes: Vec<_> = points(&start, &command).into_iter().filter(|point| point.is_of("fchmod")).collect();
    for (n, point) in modes.iter().enumerate() {
        let (home, twin) = (start.duplicate(), Home::empty());
        let name = format!("{n}.age");
        let is_reserved = || home.ok(&["list", "--status", "reserved"]).to_string().contains("carol");
        let mut file = None;
        stopped_at(&home, &command, point, || {
            file = is_reserved().then(|| vault.back_up(&home, &name, &[]));
        });
        let Some(file) = file else { continue };
        vault.restore(&twin, &file, &["--no-newer-crl"]).result();
        let carol = serial_number(&home, "api-user/carol");
        if !twin.ok(&["list", "--status", "reserved"]).to_string().contains(&carol) {
            continue;
        }
        // Another machine went on with the backup; on this one, the inventory is there or lost.
        twin.ok(&["create-api-user", "dave"]);
        let grown = vault.back_up(&twin, &format!("{n}-grown.age"), &[]);
        home.ok(&["revoke", "api-user/carol"]);
        let ruin = home.duplicate();
        for name in ["ca.db", "ca.db-wal", "ca.db-shm"] {
            let _ = fs::remove_file(ruin.path(name));
        }
        for victim in [home, ruin] {
            let restored = vault.restore(&victim, &grown, &["--reconcile"]).result();
            assert_eq!(
                (&restored["adopted"], &restored["revocations"]),
                (&1.into(), &1.into()),
                "{restored}"
            );
            assert_eq!(serial_number(&victim, "api-user/carol"), carol);
            assert!(is_on_crl(&victim, &carol));
            victim.ok(&["audit", "verify"]);
            healthy(&victim);
        }
        met += 1;
    }
    assert!(met > 0, "never was a serial number set aside and not used yet: is strace at work?");
}

#[test]
fn an_inventory_that_knows_more_than_the_backup_stays() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    home.ok(&["create-api-user", "carol"]);
    assert_eq!(vault.refused(&home, &["restore", &file]).code, "restore.forgets");
    fs::remove_file(home.path("cluster.key")).expect("the key is lost");
    let restored = vault.restore(&home, &file, &["--reconcile"]).result();
    assert_eq!(restored["kept_inventory"], Value::Bool(true), "{restored}");
    home.ok(&["show", "api-user/carol"]);
    healthy(&home);
}

#[test]
fn two_inventories_that_grew_apart_become_one() {
    let (vault, home) = (Vault::new(), lived_in());
    let twin = home.duplicate();
    twin.ok(&["create-api-user", "dave"]);
    let file = vault.back_up(&twin, "twin.age", &[]);
    home.ok(&["create-api-user", "carol"]);
    home.ok(&["revoke", "api-user/alice"]);
    let carol = serial_number(&home, "api-user/carol");
    assert_eq!(vault.refused(&home, &["restore", &file]).code, "restore.forgets");
    let restored = vault.restore(&home, &file, &["--reconcile"]).result();
    assert_eq!((&restored["adopted"], &restored["revocations"]), (&1.into(), &1.into()), "{restored}");
    assert_eq!(serial_number(&home, "api-user/carol"), carol);
    home.ok(&["show", "api-user/dave"]);
    assert_eq!(home.ok(&["show", "api-user/alice"])["status"], "revoked");
    home.ok(&["audit", "verify"]);
    home.ok(&["create-api-user", "erin"]);
}

#[test]
fn what_was_issued_since_is_taken_in_where_the_inventory_is_lost() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "old.age", &[]);
    home.ok(&["create-api-user", "carol"]);
    home.ok(&["create-api-user", "dave"]);
    home.ok(&["revoke", "api-user/carol"]);
    let carol = serial_number(&home, "api-user/carol");
    for name in ["ca.db", "ca.db-wal", "ca.db-shm"] {
        let _ = fs::remove_file(home.path(name));
    }
    home.write("ca.db", "what a broken disk left");
    let before = home.contents();
    assert_eq!(vault.refused(&home, &["restore", &file]).code, "restore.unrevokes");
    // A revoked certificate that nobody knows any more could come back to life: refused.
    let kept = fs::read(home.path("issued/user-carol.crt")).expect("a certificate");
    fs::remove_file(home.path("issued/user-carol.crt")).expect("removed");
    let refused = vault.refused(&home, &["restore", &file, "--reconcile"]);
    assert_eq!(refused.code, "restore.revoked_unknown");
    assert!(refused.message.contains(&carol), "{refused:?}");
    let elsewhere = tempfile::tempdir().expect("a directory");
    fs::write(elsewhere.path().join("found.crt"), &kept).expect("a file");
    assert!(home.contents().len() + 1 == before.len(), "a refused restore left something");

    let found = elsewhere.path().to_str().expect("text");
    let restored = vault.restore(&home, &file, &["--reconcile", "--certificates", found]).result();
    assert_eq!((&restored["adopted"], &restored["revocations"]), (&2.into(), &1.into()), "{restored}");
    assert_eq!(home.ok(&["show", "api-user/carol"])["status"], "revoked");
    assert_eq!(home.ok(&["show", "api-user/dave"])["status"], "valid");
    assert!(is_on_crl(&home, &carol));
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_protected_key_is_backed_up_as_it_is_and_comes_back_protected() {
    let (vault, home) = (Vault::new(), Home::empty());
    let passphrase = vault.write_password("passphrase", "another secret, of the key alone");
    home.ok(&["initialize", "prod", "--passphrase-file", &passphrase]);
    let file = vault.back_up(&home, "protected.age", &[]);
    vault.run(&home, &["backup", "--verify", &file]).result();
    let other = Home::empty();
    vault.restore(&other, &file, &["--no-newer-crl"]).result();
    assert_eq!(fs::read(other.path("cluster.key")).ok(), fs::read(home.path("cluster.key")).ok());
    other.ok(&["create-api-user", "alice", "--passphrase-file", &passphrase]);
    assert_eq!(other.run(&["doctor"]).exit, Some(0), "a key that nobody opens is a note");
}

#[test]
fn a_key_that_has_been_protected_since_stays_protected() {
    let (vault, home) = (Vault::new(), lived_in());
    let file = vault.back_up(&home, "plain.age", &[]);
    let plain = fs::read(home.path("cluster.key")).expect("a key");
    let passphrase = vault.write_password("passphrase", "another secret, of the key alone");
    home.ok(&["key", "protect", "--passphrase-file", &passphrase]);
    let protected = fs::read(home.path("cluster.key")).expect("a key");
    let restored = vault.restore(&home, &file, &["--reconcile"]).result();
    assert_eq!(restored["kept_key"], Value::Bool(true), "{restored}");
    assert!(fs::read(home.path("cluster.key")).ok() == Some(protected), "the key lies there as it was once");
    // One that is no key of this root is of no use to anybody.
    let stranger = fs::read(lived_in().path("cluster.key")).expect("a key");
    for broken in [&b"what a broken disk left"[..], &stranger] {
        fs::write(home.path("cluster.key"), broken).expect("written");
        let restored = vault.restore(&home, &file, &["--reconcile"]).result();
        assert_eq!(restored["kept_key"], Value::Bool(false), "{restored}");
        assert!(fs::read(home.path("cluster.key")).ok().as_ref() == Some(&plain), "no key came back");
    }
    home.ok(&["create-api-user", "dave"]);
}

#[test]
fn another_clusters_home_is_never_replaced() {
    let vault = Vault::new();
    let file = vault.back_up(&lived_in(), "one.age", &[]);
    let other = lived_in();
    for arguments in [&["restore", file.as_str()][..], &["restore", file.as_str(), "--reconcile"]] {
        assert_eq!(vault.refused(&other, arguments).code, "restore.other_cluster");
    }
}

#[test]
fn a_restore_killed_at_any_point_leaves_the_old_home_or_the_new_one() {
    let (vault, home) = (Vault::new(), lived_in());
    home.ok(&["create-api-user", "carol"]);
    let file = vault.back_up(&home, "new.age", &["--with-issued"]);
    // A home whose key and inventory are lost.
    let ruin = home.duplicate();
    for name in ["cluster.key", "ca.db", "ca.db-wal", "ca.db-shm"] {
        let _ = fs::remove_file(ruin.path(name));
    }
    let password = vault.password();
    let command = ["restore", &file, &password[0], &password[1]];
    let (old, new) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let meet = |point: &Point| {
        let victim = ruin.duplicate();
        if !killed_at(&victim, &command, point) {
            return;
        }
        // Whoever comes next sees all of it or nothing.
        let next = victim.run(&["--json", "list"]);
        if next.exit == Some(0) {
            new.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(next.refusal().code, "home.missing", "{point}");
            old.fetch_add(1, Ordering::Relaxed);
            assert!(!victim.path("cluster.key").exists(), "{point}: half a home");
            vault.restore(&victim, &file, &[]).result();
        }
        assert_eq!(certificates(&victim), certificates(&home), "{point}");
        victim.ok(&["audit", "verify"]);
        victim.ok(&["create-api-user", "next"]);
        healthy(&victim);
    };
    // Each opens the backup anew, which takes its time.
    let points = points(&ruin, &command);
    std::thread::scope(|scope| {
        for share in points.chunks(points.len().div_ceil(2).max(1)) {
            scope.spawn(|| share.iter().for_each(&meet));
        }
    });
    let (old, new) = (old.into_inner(), new.into_inner());
    assert!(old > 5 && new > 2, "{old} old homes and {new} new ones: is strace at work?");
}

#[test]
fn a_killed_backup_leaves_nothing_in_plain_beside_its_destination() {
    let vault = Vault::new();
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let password = vault.password();
    let beside = tempfile::tempdir().expect("a directory");
    let file = beside.path().join("x.age").to_str().expect("text").to_owned();
    let command = ["backup", &file, &password[0], &password[1]];
    let mut left = 0;
    // Each point makes two backups, whose passwords take their time: a third of them is enough.
    for point in points(&home, &command).into_iter().step_by(3) {
        let victim = home.duplicate();
        // The backup of the run that counted the points.
        let _ = fs::remove_file(&file);
        if !killed_at(&victim, &command, &point) {
            continue;
        }
        for entry in fs::read_dir(beside.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            assert!(path.is_file(), "{point}: {}", path.display());
            let begins = fs::read(&path).expect("a file");
            assert!(begins.is_empty() || begins.starts_with(b"age-encryption.org/v1"), "{point}");
        }
        let scratch = |home: &Home| {
            home.contents().keys().filter(|path| path.to_string_lossy().starts_with(".backup.")).count()
        };
        if scratch(&victim) > 0 {
            left += 1;
            let found = victim.run(&["--json", "doctor"]).json()["result"]["findings"].to_string();
            assert!(found.contains("doctor.leftover"), "{point}: {found}");
        }
        let _ = fs::remove_file(&file);
        vault.run(&victim, &command[..2]).result();
        assert_eq!(scratch(&victim), 0, "{point}");
        let names: Vec<_> = fs::read_dir(beside.path()).expect("a directory").collect();
        assert_eq!(names.len(), 1, "{point}: only the backup: {names:?}");
        fs::remove_file(&file).expect("removed");
    }
    assert!(left > 0, "no kill left a snapshot: is strace at work?");
}

#[test]
fn a_backup_without_the_roots_key_is_none() {
    let vault = Vault::new();
    let home = Home::initialized();
    let root = home.path("cluster.crt").to_str().expect("text").to_owned();
    home.ok(&["ca-cert", "set", &root]);
    assert!(home.path("kms.json").exists());
    fs::remove_file(home.path("cluster.key")).expect("removed");
    let file = vault.path("without.age");
    let refusal = vault.refused(&home, &["backup", &file]);
    assert_eq!(refusal.code, "file.missing", "{refusal:?}");
    assert!(refusal.message.contains("cluster.key") && !Path::new(&file).exists(), "{refusal:?}");
}

#[test]
fn a_restore_reports_the_crl_that_it_signed_and_the_operator_that_it_lacks() {
    let (vault, home) = (Vault::new(), lived_in());
    home.ok(&["create-api-user", "admin"]);
    home.write("gateways.yaml", "operator: api-user/admin\ngateways:\n  - address: 127.0.0.1:1\n");
    let file = vault.back_up(&home, "whole.age", &[]);
    home.ok(&["revoke", "api-user/alice"]);
    let crl = home.path("cluster.crl").to_str().expect("text").to_owned();
    let restored = Home::empty();
    let told = vault.run_as_text(&restored, &["restore", &file, "--reconcile", "--crl", &crl]);
    assert_eq!(told.exit, Some(0), "{told:?}");
    let number = restored.ok(&["crl", "show"])["crl_number"].as_str().expect("a number").to_owned();
    assert!(
        told.stdout.contains(&format!("  signed        CRL {number}, which is in force now\n")),
        "{told:?}"
    );
    assert!(told.stdout.contains("0 certificates and 1 revocation newer than the backup"), "{told:?}");
    assert!(!told.stderr.contains("interrupted"), "{told:?}");
    assert!(told.stdout.contains("\nNext: cluster-ca rekey api-user/admin "), "{told:?}");

    let findings = restored.run(&["--json", "doctor"]).json()["result"]["findings"].clone();
    let missing = &findings[0];
    assert_eq!(missing["code"], "doctor.operator_missing", "{findings}");
    assert!(missing["remedy"].as_str().expect("a remedy").contains("cluster-ca rekey"), "{findings}");
    restored.ok(&["rekey", "api-user/admin"]);
    let findings = restored.run(&["--json", "doctor"]).json()["result"]["findings"].to_string();
    assert!(!findings.contains("doctor.operator_missing"), "{findings}");
}
