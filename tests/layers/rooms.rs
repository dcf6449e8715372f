//! Rooms of the gateway: nothing imports what stands above it in the column.

use std::collections::BTreeSet;

use crate::graph::{Resolved, Target};
use crate::offence::{Offence, judge};
use crate::source;
use crate::tree::{Module, Tree};

/// The rooms, lowest first; those of one line stand beside each other and import neither.
const COLUMN: &[&[&str]] = &[
    &["message"],
    &["policy"],
    &["config"],
    &["tokens"],
    &["sessions", "upstream"],
    &["telemetry", "state"],
    &["shared"],
    &["control"],
    &["request", "admin"],
    &["downstream"],
    &["process"],
    &["offline"],
    &["commands"],
];

#[test]
fn rooms_point_downward() {
    judge("rooms", &offences(source()));
}

#[test]
fn files_stand_in_rooms() {
    judge("homeless", &homeless(source()));
}

/// The room that a module of the gateway stands in; none outside of it and for `gateway` itself.
fn room(module: &Module) -> Option<&str> {
    match module.path.as_slice() {
        [top, room, ..] if top == "gateway" => Some(room),
        _ => None,
    }
}

fn height(room: &str) -> Option<usize> {
    COLUMN.iter().position(|rooms| rooms.contains(&room))
}

fn homeless(tree: &Tree) -> Vec<Offence> {
    let outside =
        tree.shipped().filter(|(_, module)| room(module).is_some_and(|room| height(room).is_none()));
    let files: BTreeSet<&str> = outside.map(|(index, _)| tree.path_of(index)).collect();
    files
        .into_iter()
        .map(|file| Offence::new("gateway", format!("src/{file} stands in no room of COLUMN")))
        .collect()
}

fn offences(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (index, module) in tree.shipped() {
        let Some((own, at)) = room(module).and_then(|room| Some((room, height(room)?))) else { continue };
        for mention in &module.mentions {
            let Some(Resolved { target, passed, .. }) = tree.resolve(index, mention) else { continue };
            let (Target::Module(end) | Target::Item(end)) = target;
            let rooms = passed.iter().chain([&end]).filter_map(|module| room(&tree.modules[*module]));
            let wrong =
                rooms.filter(|room| *room != own).find(|room| height(room).is_some_and(|other| other >= at));
            if let Some(import) = wrong {
                found.push(Offence::new(
                    "gateway",
                    format!(
                        "src/{}:{}: `{}`: the room `{own}` may not import `{import}`, which does not stand below it",
                        tree.path_of(index),
                        mention.line,
                        mention.segments.join("::"),
                    ),
                ));
            }
        }
    }
    found
}

fn gateway(config: &str) -> Tree {
    Tree::of(&[
        ("lib.rs", "pub mod gateway;"),
        ("gateway/mod.rs", "mod config; mod policy; mod request; mod old; pub use request::Request;"),
        ("gateway/config/mod.rs", "mod rate;"),
        ("gateway/config/rate.rs", config),
        ("gateway/policy/mod.rs", "pub struct Policy;"),
        ("gateway/request/mod.rs", "pub struct Request;"),
        ("gateway/old.rs", ""),
    ])
}

#[test]
fn an_import_of_a_higher_room_is_an_offence() {
    for source in [
        "use crate::gateway::request::Request;",
        "use super::super::Request;",
        "use crate::gateway::Request;",
    ] {
        assert_eq!(offences(&gateway(source)).len(), 1, "{source}");
    }
    assert_eq!(offences(&gateway("use crate::gateway::policy::Policy; use super::rate;")).len(), 0);
    assert_eq!(homeless(&gateway("")).len(), 1);
}
