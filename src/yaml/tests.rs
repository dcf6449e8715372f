//! Places, lines and refused documents.

use serde::Deserialize;

use super::document::Document;

const TEXT: &str = "\
# a comment
validity:
  minimum: 5m   # and another

  default: 90d
routes:
  - path: /a
    allow: [{ role: x },
            { role: y }]
  - { path: \"/b: c\" }
\"quoted key\": {
  inner: 1 }
text: |
  default: not a key
last: 1
";

fn parse(text: &str) -> Result<Document, String> {
    Document::parse("f.yaml", text.as_bytes()).map_err(|problem| problem.to_string())
}

#[test]
fn every_place_has_its_line() {
    let document = parse(TEXT).unwrap();
    let routes = document.at("routes");
    for (place, line) in [
        (document.root(), 2),
        (document.at("validity"), 2),
        (document.at("validity").at("minimum"), 3),
        (document.at("validity").at("default"), 5),
        (routes.clone(), 6),
        (routes.at(0), 7),
        (routes.at(0).at("path"), 7),
        (routes.at(0).at("allow").at(1).at("role"), 9),
        (routes.at(1).at("path"), 10),
        (document.at("quoted key").at("inner"), 12),
        (document.at("text"), 13),
        (document.at("last"), 15),
    ] {
        assert_eq!(place.line(), Some(line), "{place}");
    }
}

#[test]
fn a_missing_value_has_the_line_of_its_parent() {
    let document = parse(TEXT).unwrap();
    for (place, line) in [
        (document.at("missing"), 2),
        (document.at("validity").at("missing").at("deeper"), 2),
        (document.at("routes").at(0).at("missing"), 7),
        (document.at("routes").at(9).at("path"), 6),
        (document.at("last").at("no mapping"), 15),
    ] {
        assert_eq!(place.line(), Some(line), "{place}");
    }
}

#[test]
fn lines_are_found_beside_empty_values() {
    let text =
        "a: &x { b: 1,\n c: [] }\nd:\n  - []\n  - {}\n  - 1\n  - null\n  - ~\ne: *x\nf: true\ng:\nh: 1.5\n";
    let document = parse(text).unwrap();
    for (place, line) in [
        (document.at("a").at("c").at(0), 2),
        (document.at("d").at(0), 3),
        (document.at("d").at(1), 3),
        (document.at("d").at(2), 6),
        (document.at("d").at(4), 8),
        (document.at("e").at("b"), 1),
        (document.at("f"), 10),
        (document.at("g"), 11),
        (document.at("h"), 12),
    ] {
        assert_eq!(place.line(), Some(line), "{place}");
    }
    assert_eq!(parse("x: 1").unwrap().at("x").line(), Some(1));
    assert_eq!(parse("[]").unwrap().root().line(), None);
    assert_eq!(parse("\nx").unwrap().root().line(), Some(2));
}

#[test]
fn a_problem_reads_file_line_place_and_rule() {
    let document = parse(TEXT).unwrap();
    let problem = document.at("routes").at(0).at("allow").at(1).problem("no such role");
    assert_eq!(problem.to_string(), "f.yaml:9: routes[0].allow[1]: no such role");
}

#[test]
fn wrong_types_and_unknown_keys_are_reported_with_their_line() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "b")]
        _b: u8,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "a")]
        _a: Inner,
    }
    for (text, message) in [
        ("a:\n  b: x\n", "f.yaml:2: a.b: invalid type: string \"x\", expected u8"),
        ("a:\n  b: 1\n  c: 2\n", "f.yaml:3: a: unknown field `c`, expected `b`"),
        ("\na: {}\n", "f.yaml:2: a: missing field `b`"),
    ] {
        let problem = parse(text).unwrap().deserialize::<Outer>().unwrap_err();
        assert_eq!(problem.to_string(), message);
    }
    assert!(parse("a: { b: 1 }").unwrap().deserialize::<Outer>().is_ok());
}

#[test]
fn ambiguous_structure_is_refused() {
    let deep = "[".repeat(17) + &"]".repeat(17);
    let deeper = "[".repeat(30_000);
    let large = " ".repeat(65_537);
    let wide =
        format!("a: &a [{}]\nb: &b [{}]\nc: [{}]", "x,".repeat(99), "*a,".repeat(99), "*b,".repeat(99));
    for (text, message) in [
        ("a: 1\nb: 2\na: 3", "f.yaml:1: duplicate key `a`"),
        ("x:\n  a: 1\n  a: 3", "f.yaml:2: x: duplicate key `a`"),
        ("a: !tag 1", "tag"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: [1", "f.yaml:2: did not find"),
        ("a: 1\n b: 2", "f.yaml:2: "),
        ("a: *b", "unknown anchor"),
        ("a: \"\u{7}\"", "control characters"),
        (&deep, "too deeply"),
        (&deeper, "f.yaml:1: "),
        (&large, "larger than 64 KiB"),
        (&wide, "aliases"),
        ("&a [*a]", ""),
    ] {
        let refused = parse(text).unwrap_err();
        assert!(refused.contains(message), "{message}: {refused}");
    }
    assert!(Document::parse("f.yaml", b"a: \xff").unwrap_err().message.contains("UTF-8"));
}

#[test]
fn control_characters_in_a_message_are_escaped() {
    let problem = parse("\"\\e[31m\": 1\n\"\\e[31m\": 2").unwrap_err();
    assert!(!problem.contains('\u{1b}'), "{problem}");
}
