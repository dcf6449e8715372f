//! No two files import each other, directly or in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Edge, components};
use crate::offence::{Offence, judge};
use crate::source;
use crate::tree::Tree;

#[test]
fn circles_of_files() {
    judge("circles", &offences(source()));
}

/// One offence for each file in a circle; the first of a circle carries the imports that hold it together.
fn offences(tree: &Tree) -> Vec<Offence> {
    let edges = tree.edges();
    let mut found = Vec::new();
    for component in components(tree.files.len(), &edges) {
        let inside: Vec<&Edge> = edges
            .iter()
            .filter(|edge| component.contains(&edge.from) && component.contains(&edge.to))
            .collect();
        for (at, file) in component.iter().enumerate() {
            let path = &tree.files[*file].path;
            let mut text = format!("src/{path} is in a circle of {} files", component.len());
            if at == 0 {
                text.push_str(", held together by");
                text.push_str(&shown(tree, &inside));
            }
            found.push(Offence::new("src", text));
        }
    }
    found
}

/// One line for each pair of files: names and the lines that they stand on.
fn shown(tree: &Tree, edges: &[&Edge]) -> String {
    let mut pairs: BTreeMap<(&str, &str), BTreeSet<(usize, &str)>> = BTreeMap::new();
    for edge in edges {
        let pair = (tree.files[edge.from].path.as_str(), tree.files[edge.to].path.as_str());
        pairs.entry(pair).or_default().insert((edge.line, &edge.what));
    }
    let mut text = String::new();
    for ((from, to), names) in pairs {
        let names: Vec<String> = names.iter().map(|(line, what)| format!("{line} {what}")).collect();
        text.push_str(&format!("\n    src/{from} -> src/{to}: {}", names.join(", ")));
    }
    text
}

fn count(files: &[(&str, &str)]) -> usize {
    offences(&Tree::of(files)).len()
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    for (a, b) in [
        ("use crate::b::B; pub struct A;", "use crate::a::A; pub struct B;"),
        ("use super::b::B; pub struct A;", "fn f() -> super::a::A { todo() } pub struct B;"),
        ("use crate::{b as other}; pub struct A(other::B);", "use crate::a; pub struct B(a::A);"),
        ("pub struct A(crate::b::B);", "pub fn f() { assert!(super::a::A::new()) } pub struct B;"),
        ("pub struct A(crate::B);", "pub use crate::A; pub struct B(A);"),
        ("use crate::b::*; pub struct A(B);", "use crate::a::*; pub struct B(Option<A>);"),
        ("#[serde(with = \"crate::b::text\")] pub struct A;", "use crate::a::A; pub fn text() {}"),
        ("pub fn a() { println!(\"{}\", x.y::<crate::b::B>()); }", "pub struct B; fn f() { super::a::a() }"),
        (
            "use crate::b; pub const A: u8 = if b::B { 1 } else { 2 };",
            "use crate::a; pub const B: bool = a::A > 1;",
        ),
    ] {
        let root = "pub mod a; pub mod b; pub use a::A; pub use self::b::B;";
        assert_eq!(count(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]), 2, "{a}\n{b}");
    }
}

#[test]
fn a_circle_through_others_and_through_a_re_export_is_found() {
    let root = "pub mod a; pub mod b; pub mod c;";
    let three = [
        ("lib.rs", root),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::A; pub struct C;"),
    ];
    assert_eq!(count(&three), 3);
    let roof = [
        ("lib.rs", "pub mod x;"),
        ("x/mod.rs", "mod one; mod two; pub use one::One; pub use two::Two;"),
        ("x/one.rs", "use super::Two; pub struct One;"),
        ("x/two.rs", "use crate::x::One; pub struct Two;"),
    ];
    assert_eq!(count(&roof), 2);
    let defined_in_the_roof = [
        ("lib.rs", "pub mod x;"),
        ("x/mod.rs", "mod one; use one::One; pub struct Roof(One);"),
        ("x/one.rs", "use super::Roof; pub struct One(Box<Roof>);"),
    ];
    assert_eq!(count(&defined_in_the_roof), 2);
}

#[test]
fn what_points_one_way_is_no_circle() {
    for (a, b) in [
        ("use crate::b::B; pub struct A;", "pub struct B;"),
        ("use crate::b::B; pub struct A;", "#[cfg(test)] mod tests { use crate::a::A; } pub struct B;"),
        ("use crate::b::B; pub struct A;", "#[cfg(test)] use crate::a::A; pub struct B;"),
        (
            "use crate::b::B; pub struct A;",
            "/// [`crate::a::A`]\npub struct B; const T: &str = \"crate::a::A\";",
        ),
        ("use crate::b::B; pub struct A;", "use other::a::A; pub struct B(::a::A);"),
        ("use crate::b::B; pub struct A;", "pub(in crate::a) struct B; fn f(x: X) { x.a.A(); <X>::A() }"),
        ("use crate::b; pub struct A(b::B);", "use crate::a; pub struct B;"),
    ] {
        let root = "pub mod a; pub mod b; pub use a::A;";
        assert_eq!(count(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]), 0, "{a}\n{b}");
    }
    let helper = [
        ("lib.rs", "pub mod a; #[cfg(test)] mod helper;"),
        ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::helper::H; }"),
        ("helper.rs", "mod more; use crate::a::A; pub struct H;"),
        ("helper/more.rs", "use super::H; pub struct M;"),
    ];
    assert_eq!(count(&helper), 0);
}
