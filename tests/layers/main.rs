//! House rules that a compiler can't hold: imports, rooms of foreign crates, layout of the tree.
//!
//! Each rule is a file here with tests of its own. `cargo test --test layers -- --nocapture circles` prints
//! every offence against the rule in `circles.rs`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that can't read the tree fails")]

mod circles;
mod codes;
mod crates;
mod graph;
mod language;
mod layout;
mod maps;
mod modules;
mod names;
mod offence;
mod paths;
mod roles;
mod roofs;
mod rooms;
mod tree;

use std::path::PathBuf;
use std::sync::OnceLock;

use tree::Tree;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The tree below `src`, read once.
fn source() -> &'static Tree {
    static SOURCE: OnceLock<Tree> = OnceLock::new();
    SOURCE.get_or_init(|| Tree::read(&root().join("src")))
}
