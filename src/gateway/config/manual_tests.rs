//! Tests of the manual page: its keys and defaults are those in force.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::tests::{TEXT, home, parse};
use super::*;
use crate::file_schema::{Absent, KeySchema, MappingSchema};

/// Keys with a default, as YAML.
fn defaults(schema: &MappingSchema) -> Vec<String> {
    let default = |key: &KeySchema| match key.absent {
        Absent::Default(value) => Some(format!("{}: {value}", key.name)),
        _ => None,
    };
    schema.keys.iter().filter_map(default).collect()
}

#[test]
fn the_manual_page_states_the_defaults_in_force() {
    let bare = parse(TEXT).unwrap();
    let limits = defaults(&schema::LIMITS);
    assert_eq!(limits.len(), schema::LIMITS.keys.len());
    let root = defaults(&schema::ROOT).join("\n");
    let listener = defaults(&schema::LISTENER).join(", ");
    let stated = TEXT
        .replace("listen: 127.0.0.1:4523", &format!("listen: {{ address: 127.0.0.1:4523, {listener} }}"))
        .replace("crl: cluster.crl", &format!("crl: cluster.crl, {}", defaults(&schema::TRUST).join(", ")))
        .replace(":8080\"", &format!(":8080\", {}", defaults(&schema::UPSTREAM).join(", ")));
    let stated = parse(&format!("limits: {{ {} }}\n{root}\n{stated}", limits.join(", "))).unwrap();
    assert_eq!(stated.limits, bare.limits);
    assert_eq!((stated.resumption, stated.access_log), (bare.resumption, bare.access_log));
    assert_eq!((stated.listen, stated.upstreams), (bare.listen, bare.upstreams));
    assert_eq!(stated.trust.revocation.grace(), bare.trust.revocation.grace());
    let lifetime = defaults(&schema::ASSERTION).remove(0);
    let assertion = |text: &str| parse(&format!("assertion: {text}\n{TEXT}")).unwrap().assertion.unwrap();
    assert_eq!(assertion(&format!("{{ {lifetime} }}")), assertion("{}"));
    assert_eq!(defaults(&schema::IDENTITY), ["kms_timeout: 60s"]);
    assert_eq!(crate::mtls::keys::KeySource::TIMEOUT, Duration::from_secs(60));
}

#[test]
fn the_keys_of_the_manual_page_are_the_keys_that_are_read() {
    // A reader that skips a key of its schema, or reads another, fails an assertion in `Fields`.
    let full = format!(
        "{}policy: {{ shadow: new.yaml }}\noperators: [{{ role: api-user }}]\nstate_directory: .\n\
         assertion: {{}}\nresumption: {{ max_age: 1h }}\nlimits: {{}}\n",
        TEXT.replace("listen: 127.0.0.1:4523", "listen: { address: 127.0.0.1:4523 }")
            .replace("crl: cluster.crl", "crl: cluster.crl, crl_staleness: { grace: 1d }")
    );
    let home = home();
    std::fs::write(home.path().join("new.yaml"), TEXT).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let read = |text: &str| Config::parse("gateway.yaml", text.as_bytes(), home.path());
    read(&full).unwrap();
    for (place, with) in [
        ("listen: {", "listen: { odd: 1,"),
        ("identity: {", "identity: { odd: 1,"),
        ("trust: {", "trust: { odd: 1,"),
        ("{ grace", "{ odd: 1, grace"),
        ("{ max_age", "{ odd: 1, max_age"),
        ("operators: [{", "operators: [{ odd: 1,"),
        ("api: {", "api: { odd: 1,"),
        ("- {", "- { odd: 1,"),
        ("allow: [{", "allow: [{ odd: 1,"),
        ("{ shadow", "{ odd: 1, shadow"),
        ("limits: {", "limits: { odd: 1 "),
        ("assertion: {", "assertion: { odd: 1 "),
        ("identity:", "odd: 1\nidentity:"),
    ] {
        assert!(full.contains(place), "{place}");
        let problems = read(&full.replacen(place, with, 1)).unwrap_err();
        assert!(problems[0].to_string().contains("odd: unknown key; the keys here are"), "{problems:?}");
    }
}
