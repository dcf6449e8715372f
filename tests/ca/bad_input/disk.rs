//! A disk that is full or read-only: said in words, with nothing lost and nothing half made.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own. Without the right to make one
//! (root, or user namespaces) these tests fail and say so.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use crate::crash::aftermath::{Aftermath, reserved};
use crate::home::Home;
use crate::namespace;

/// Runs the test `name` of this module again in a mount namespace of its own; true there.
fn inside_a_namespace(name: &str) -> bool {
    namespace::is_inside(module_path!(), name)
}

/// A home on a file system of its own, of 4 MiB.
struct SmallDisk {
    home: Home,
}

impl SmallDisk {
    fn new() -> Self {
        let disk = Self { home: Home::empty() };
        disk.mount(&["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"]);
        disk
    }

    fn mount(&self, options: &[&str]) {
        let mounted =
            Command::new("mount").args(options).arg(self.home.path("")).status().expect("mount starts");
        assert!(mounted.success(), "mount {options:?} needs root or user namespaces: {mounted}");
    }

    /// Leaves room for `pages` pages of 4 KiB.
    fn fill(&self, pages: usize) {
        self.empty();
        let room = rustix::fs::statvfs(self.home.path("")).expect("statvfs").f_bavail;
        let mut ballast = File::create(self.home.path("ballast")).expect("a file");
        for _ in pages..usize::try_from(room).expect("a small disk") {
            ballast.write_all(&[0; 4096]).expect("there is room");
        }
    }

    fn empty(&self) {
        let _ = fs::remove_file(self.home.path("ballast"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.home.path("")).status();
    }
}

/// Tries `command` with ever more room; each refusal must say that the disk is full, and leave a
/// home that the next command finds in order.
fn with_ever_more_room(disk: &SmallDisk, command: &[&str]) {
    let home = &disk.home;
    let mut refusals = 0;
    for pages in [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128] {
        let given_up = reserved(home);
        disk.fill(pages);
        let finished = home.run(&[&["--json"], command].concat());
        disk.empty();
        if finished.exit == Some(0) {
            break;
        }
        refusals += 1;
        let refusal = finished.refusal();
        assert_eq!(refusal.exit, 3, "{pages} pages: {refusal:?}");
        assert!(
            ["file.disk_full", "store.disk_full"].contains(&refusal.code.as_str()),
            "{pages} pages: {refusal:?}"
        );
        let next = format!("after-{}-{pages}", command[0]);
        Aftermath::of(home, given_up).check(home, &next, &format!("full at {pages} pages"), false);
    }
    assert!(refusals > 0, "the disk was never full");
}

#[test]
fn a_full_disk_issues_nothing_by_half() {
    if !inside_a_namespace("a_full_disk_issues_nothing_by_half") {
        return;
    }
    let disk = SmallDisk::new();
    disk.home.ok(&["initialize", "prod"]);
    disk.home.ok(&["create-api-user", "alice"]);
    with_ever_more_room(&disk, &["create-api-user", "bob"]);
    with_ever_more_room(&disk, &["create-node", "--count", "20"]);
}

#[test]
fn a_full_disk_makes_no_half_cluster() {
    if !inside_a_namespace("a_full_disk_makes_no_half_cluster") {
        return;
    }
    let disk = SmallDisk::new();
    let home = &disk.home;
    for pages in [0, 1, 2, 4, 8, 16, 32] {
        disk.fill(pages);
        let finished = home.run(&["--json", "initialize", "prod"]);
        disk.empty();
        if finished.exit == Some(0) {
            return assert!(pages > 0);
        }
        let refusal = finished.refusal();
        assert_eq!(refusal.exit, 3, "{pages} pages: {refusal:?}");
        assert!(home.contents().is_empty(), "{pages} pages: {:?}", home.contents().keys());
    }
    home.ok(&["initialize", "prod"]);
}

#[test]
fn a_revocation_on_a_full_disk_is_whole_once_there_is_room() {
    if !inside_a_namespace("a_revocation_on_a_full_disk_is_whole_once_there_is_room") {
        return;
    }
    let disk = SmallDisk::new();
    disk.home.ok(&["initialize", "prod"]);
    for pages in [0, 1, 2, 3, 4, 6, 8, 12, 16] {
        let user = format!("user-{pages}");
        disk.home.ok(&["create-api-user", &user]);
        disk.fill(pages);
        let finished = disk.home.run(&["--json", "revoke", &format!("api-user/{user}")]);
        disk.empty();
        if finished.exit != Some(0) {
            let refusal = finished.refusal();
            assert_eq!(refusal.exit, 3, "{pages} pages: {refusal:?}");
        }
        Aftermath::of(&disk.home, BTreeSet::new()).check(
            &disk.home,
            &format!("next-{pages}"),
            &format!("full at {pages} pages"),
            false,
        );
    }
}

#[test]
fn a_read_only_disk_is_said_and_can_still_be_read() {
    if !inside_a_namespace("a_read_only_disk_is_said_and_can_still_be_read") {
        return;
    }
    let disk = SmallDisk::new();
    let home = &disk.home;
    home.ok(&["initialize", "prod"]);
    home.ok(&["create-api-user", "alice"]);
    let before = home.contents();
    disk.mount(&["-o", "remount,ro"]);
    for command in [&["create-api-user", "bob"][..], &["create-node"], &["revoke", "api-user/alice"]] {
        let refusal = home.refused(command);
        assert!(
            ["file.read_only", "store.read_only"].contains(&refusal.code.as_str()),
            "{command:?}: {refusal:?}"
        );
        assert_eq!(refusal.exit, 3, "{refusal:?}");
    }
    assert_eq!(home.contents(), before);
    assert_eq!(home.ok(&["list"]).as_array().expect("an array").len(), 1);
    home.ok(&["audit", "verify"]);
    disk.mount(&["-o", "remount,rw"]);
    home.ok(&["create-api-user", "bob"]);
}
