//! Machines: a UUID leads to the machine it belongs to, and the deliveries of a cluster are kept by commands.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::home::Home;

const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
const OTHER: &str = "0b7e8f0e-52e7-4b0a-9a2c-4b1f6d1f9c11";

fn texts(value: &Value, key: &str) -> Vec<String> {
    let rows = value.as_array().expect("an array");
    rows.iter().map(|row| row[key].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_label_is_kept_from_issue_to_renewal_and_leads_to_the_node() {
    let home = Home::initialized();
    let issued = home.ok(&["create-node", NODE, "--label", "rack 4, web-1"]);
    assert_eq!(issued["label"], "rack 4, web-1");
    home.ok(&["create-node", "--count", "2"]);
    home.ok(&["create-node", "--label", "db-1"]);
    for command in ["renew", "rekey"] {
        home.ok(&[command, &format!("node-agent/{NODE}")]);
    }
    let shown = home.ok(&["show", "rack 4, web-1"]);
    assert_eq!((&shown["name"], &shown["status"]), (&NODE.into(), &"valid".into()), "{shown}");
    assert_eq!(shown["lineage"].as_array().map(Vec::len), Some(3));
    assert!(home.run(&["show", NODE, "--quiet"]).exit != Some(0), "a name needs its role");
    let text = home.run(&["show", &format!("node-agent/{NODE}")]).stdout;
    assert!(text.contains("\n  label        rack 4, web-1\n"), "{text}");

    let labels = |arguments: &[&str]| texts(&home.ok(&[&["list"], arguments].concat()), "label");
    assert_eq!(labels(&["--label", "rack*", "--newest"]), ["rack 4, web-1"]);
    assert_eq!(labels(&["--label", "*-1", "--newest"]).len(), 2);
    assert_eq!(labels(&["--label", "rack*", "--status", "valid", "--role", "node-agent"]), ["rack 4, web-1"]);
    assert_eq!(labels(&["--label", "RACK*"]).len(), 0);
    let listed = home.run(&["list"]).stdout;
    assert!(listed.contains("rack 4, web-1") && listed.contains("db-1"), "{listed}");

    // A new label goes with the certificate that it came with.
    home.ok(&["renew", &format!("node-agent/{NODE}"), "--label", "web-7"]);
    assert_eq!(home.ok(&["show", "web-7"])["name"], NODE);
    let refusal = home.refused(&["show", "rack 4, web-1"]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.target", 2), "{refusal:?}");
    home.ok(&["doctor"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn no_change_is_made_to_a_node_that_only_its_label_names() {
    let home = Home::initialized();
    home.ok(&["create-node", NODE, "--label", "web-1"]);
    for command in ["revoke", "hold", "renew", "rekey", "bundle"] {
        let refusal = home.refused(&[command, "web-1"]);
        assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.target", 2), "{refusal:?}");
    }
    // Two nodes of one label: both are named.
    home.ok(&["create-node", OTHER, "--label", "web-1"]);
    let refusal = home.refused(&["show", "web-1"]);
    assert_eq!(refusal.code, "ca.ambiguous", "{refusal:?}");
}

#[test]
fn a_name_that_a_table_cuts_short_for_its_label_is_no_target() {
    let home = Home::initialized();
    let label = "rack 4, unit 12, the second machine from the left";
    home.ok(&["create-node", NODE, "--label", label]);
    // The label leads to the machine, so it comes first; the UUID is whole in every other form.
    let row = home.run(&["list"]).stdout.lines().nth(1).expect("a row").to_owned();
    assert!(row.contains("rack 4, unit 12") && row.contains('\u{2026}') && !row.contains(NODE), "{row}");
    assert_eq!(home.run(&["list", "--output", "names"]).stdout, format!("node-agent/{NODE}\n"));
    assert!(home.run(&["list", "--output", "wide"]).stdout.contains(&format!(" {NODE} ")));
    home.ok(&["create-node", OTHER, "--label", "db-1, rack 4"]);
    let listed = home.run(&["list", "--label", "db-1*"]).stdout;
    let shown = listed.split_whitespace().find(|word| word.starts_with('(')).expect("a UUID, cut short");
    let cut = shown.trim_start_matches('(');
    assert!(cut.len() > 8 && !cut.contains(OTHER), "{listed}");
    for name in [cut, cut.trim_end_matches('\u{2026}'), &OTHER[..35]] {
        for command in ["show", "revoke", "renew"] {
            let refusal = home.refused(&[command, &format!("node-agent/{name}")]);
            assert_ne!(refusal.exit, 0, "{command} {name}: {refusal:?}");
        }
    }
    assert_eq!(home.ok(&["show", "db-1, rack 4"])["name"], OTHER);
}

#[test]
fn only_nodes_take_a_label() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let refusal = home.refused(&["renew", "api-user/alice", "--label", "web-1"]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("ca.label_without_machine", 1), "{refusal:?}");
    assert!(refusal.hint.contains("leave the label out"), "{refusal:?}");
    assert_eq!(home.ok(&["list"]).as_array().map(Vec::len), Some(1), "nothing was issued");
}

#[test]
fn a_tampered_label_is_refused_and_found() {
    let home = Home::initialized();
    home.ok(&["create-node", NODE, "--label", "web-1"]);
    let database = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    for (value, code) in [("'web-2'", "store.inconsistent"), ("NULL", "store.inconsistent")] {
        database.execute_batch(&format!("UPDATE certificate SET label = {value}")).expect("changed");
        assert_eq!(home.refused(&["audit", "verify"]).code, code, "{value}");
    }
    database.execute_batch("UPDATE certificate SET label = 'a' || char(27) || '[2J'").expect("changed");
    let refusal = home.refused(&["list"]);
    assert_eq!(refusal.code, "store.corrupt", "{refusal:?}");
}

#[test]
fn labels_that_hide_something_are_refused() {
    let home = Home::initialized();
    let long = "a".repeat(65);
    for label in ["", " ", "a\nb", "a\u{202e}b", "a\u{1b}[31m", long.as_str()] {
        let refusal = home.refused(&["create-node", "--label", label]);
        assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.arguments", 2), "{label:?}: {refusal:?}");
    }
    let refusal = home.refused(&["create-node", NODE, OTHER, "--label", "web-1"]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.label", 2), "{refusal:?}");
    assert!(refusal.hint.contains("--from FILE"), "{refusal:?}");
    assert_eq!(home.ok(&["list"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_file_lists_nodes_with_uuid_hosts_and_label() {
    let home = Home::initialized();
    let list = home.write(
        "machines.yaml",
        format!(
            "nodes:
  - label: web-1
    hosts: [web-1.example.com, 10.0.0.5]
  - uuid: {NODE}
    label: db-1
  - uuid: {OTHER}
"
        ),
    );
    let list = list.to_str().expect("text");
    let planned = home.ok(&["create-node", "--from", list, "--dry-run"]);
    assert_eq!(planned.as_array().map(Vec::len), Some(3));
    let issued = home.ok(&["create-node", "--from", list]);
    assert_eq!(texts(&issued, "label"), ["web-1", "db-1", ""]);
    assert_eq!(issued[0]["hosts"], serde_json::json!(["web-1.example.com", "10.0.0.5"]));
    assert_eq!([&issued[1]["name"], &issued[2]["name"]], [NODE, OTHER]);
    assert_eq!(home.ok(&["show", "db-1"])["name"], NODE);
    let again = home.refused(&["create-node", "--from", list]);
    assert_eq!(again.code, "file.exists", "{again:?}");
    assert!(again.hint.contains(&format!("cluster-ca renew node-agent/{NODE}")), "{again:?}");

    let mut piped = home.command(&["--json", "create-node", "--from", "-"]);
    let input = home.write("more.yaml", "nodes: [{ label: pipe }]\n");
    piped.stdin(fs::File::open(input).expect("opened"));
    assert!(piped.output().expect("cluster-ca starts").status.success());
    assert_eq!(home.ok(&["show", "pipe"])["role"], "node-agent");
}

#[test]
fn a_mistake_in_a_list_of_nodes_is_named_with_its_line_and_nothing_is_issued() {
    let home = Home::initialized();
    let list = home.write(
        "machines.yaml",
        format!(
            "nodes:\n  - uuid: {NODE}\n  - uuid: web-1\n    hosts: ['*.example.com']\n  - uuid: {NODE}\n"
        ),
    );
    let list = list.to_str().expect("text");
    let before = home.state();
    let refusal = home.refused(&["create-node", "--from", list]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("input.nodes", 1), "{refusal:?}");
    for problem in [
        "machines.yaml:3: nodes[1].uuid: ",
        "machines.yaml:4: nodes[1].hosts[0]: ",
        "machines.yaml:5: nodes[2].uuid: ",
    ] {
        assert!(refusal.message.contains(problem), "{problem}: {refusal:?}");
    }
    assert!(refusal.hint.contains("nothing was issued"), "{refusal:?}");
    for other in [&["--count", "2"][..], &[NODE], &["--label", "a"], &["--san", "a.example.com"]] {
        let refusal = home.refused(&[&["create-node", "--from", list], other].concat());
        assert_eq!(refusal.code, "usage.arguments", "{refusal:?}");
    }
    assert!(home.state() == before, "something was issued");
}

#[test]
fn deliveries_are_added_listed_and_removed_and_comments_stay() {
    let home = Home::initialized();
    home.ok(&["create-node", NODE, "--label", "web-1"]);
    let node = format!("node-agent/{NODE}");
    assert!(home.run(&["hosts"]).stdout.starts_with("No deliveries. Next: cluster-ca hosts add "));
    let added =
        home.ok(&["hosts", "add", &node, "--to", "root@web-1:/etc/cluster", "--reload", "true # now"]);
    assert_eq!((&added["identity"], &added["label"]), (&node.as_str().into(), &"web-1".into()), "{added}");
    let own = "# my machines\n".to_owned() + &fs::read_to_string(home.path("hosts.yaml")).expect("a file");
    home.write("hosts.yaml", &own);
    fs::set_permissions(home.path("hosts.yaml"), Permissions::from_mode(0o600)).expect("chmod");
    let told =
        home.run(&["hosts", "add", "api-user/plugin", "--to", "root@web-1:/etc/cluster", "--mode", "640"]);
    assert_eq!(told.exit, Some(0), "{told:?}");
    assert!(told.stderr.contains("note: api-user/plugin has no certificate yet"), "{told:?}");
    let listed = home.ok(&["hosts", "list"]);
    assert_eq!(texts(&listed, "identity"), [node.as_str(), "api-user/plugin"]);
    assert_eq!(
        (&listed[0]["reload"], &listed[1]["mode"]),
        (&"true # now".into(), &"0640".into()),
        "{listed}"
    );
    // `distribute` uses what was added.
    let plans = home.ok(&["distribute", &node, "--dry-run"]);
    assert_eq!(plans[0]["destination"], "root@web-1:/etc/cluster", "{plans}");

    let refusal = home.refused(&[
        "hosts",
        "add",
        "node-agent/0b7e8f0e-52e7-4b0a-9a2c-4b1f6d1f9c11",
        "--to",
        "root@web-1:/etc/cluster",
    ]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("input.hosts", 1), "{refusal:?}");
    assert!(refusal.hint.contains("--as"), "{refusal:?}");

    let removed = home.ok(&["hosts", "remove", "api-user/plugin"]);
    assert_eq!(texts(&removed["removed"], "to"), ["root@web-1:/etc/cluster"]);
    assert_eq!(fs::read_to_string(home.path("hosts.yaml")).expect("a file"), own);
    for arguments in [&["api-user/plugin"][..], &[&node, "--to", "root@web-2:/etc/cluster"]] {
        let refusal = home.refused(&[&["hosts", "remove"], arguments].concat());
        assert_eq!((refusal.code.as_str(), refusal.exit), ("hosts.unknown", 1), "{refusal:?}");
        assert!(!refusal.hint.is_empty());
    }
    home.ok(&["hosts", "remove", &node, "--to", "root@web-1:/etc/cluster"]);
    assert_eq!(home.ok(&["hosts"]), serde_json::json!([]));
    assert!(fs::read_to_string(home.path("hosts.yaml")).expect("a file").starts_with("# my machines\n"));
}

#[test]
fn a_list_of_deliveries_that_a_program_cannot_change_is_left_alone() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "a"]);
    let flow = "deliveries: [{ identity: api-user/a, to: 'a:/c' }]   # by hand\n";
    let elsewhere = Home::empty();
    fs::write(elsewhere.path("deliveries"), flow).expect("written");
    std::os::unix::fs::symlink(elsewhere.path("deliveries"), home.path("hosts.yaml")).expect("a link");
    for arguments in [&["add", "api-user/b", "--to", "b:/c"][..], &["remove", "api-user/a"]] {
        let refusal = home.refused(&[&["hosts"], arguments].concat());
        assert_eq!((refusal.code.as_str(), refusal.exit), ("hosts.form", 1), "{refusal:?}");
        assert!(refusal.hint.contains("by hand"), "{refusal:?}");
    }
    assert_eq!(fs::read_to_string(elsewhere.path("deliveries")).expect("a file"), flow);
    // A link stays a link.
    fs::write(elsewhere.path("deliveries"), "deliveries: []\n").expect("written");
    home.ok(&["hosts", "add", "api-user/a", "--to", "a:/c"]);
    assert!(fs::symlink_metadata(home.path("hosts.yaml")).expect("metadata").is_symlink());
    assert!(fs::read_to_string(elsewhere.path("deliveries")).expect("a file").contains("to: a:/c"));
    // A file that others can write decides nothing.
    fs::set_permissions(elsewhere.path("deliveries"), Permissions::from_mode(0o666)).expect("chmod");
    for arguments in [&["list"][..], &["add", "api-user/b", "--to", "b:/c"]] {
        let refusal = home.refused(&[&["hosts"], arguments].concat());
        assert_eq!(refusal.code, "file.writable_by_all", "{refusal:?}");
    }
}
