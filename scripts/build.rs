//! Build script: version and commit for `--version`.
//!
//! A build without debug information names the commit that it was made from. A development build does not: it would
//! be compiled again after every commit. `CLUSTER_CA_COMMIT` replaces the commit where no repository is at hand.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=scripts/build.rs");
    println!("cargo::rerun-if-env-changed=CLUSTER_CA_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let is_released = env::var("DEBUG").is_ok_and(|debug| debug == "false");
    let commit = env::var("CLUSTER_CA_COMMIT").ok().or_else(|| if is_released { head() } else { None });
    let version = match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=CLUSTER_CA_VERSION={version}");
}

/// Abbreviated commit of the work tree, with `+` if tracked files differ from it.
fn head() -> Option<String> {
    for changing in ["logs/HEAD", "index"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", changing])?);
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_changed { commit + "+" } else { commit })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
