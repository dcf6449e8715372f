//! The API keeps its description: Schemathesis generates requests from it, valid and invalid ones.

use std::path::Path;
use std::process::Command;

use super::running::{Server, home};

/// Properties that each response must have.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

#[test]
fn every_response_is_as_the_description_says() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin/st");
    assert!(program.exists(), "Schemathesis is missing: run scripts/python-tools");
    // It opens connections faster than it closes them.
    let limits = "limits: { connections: 4000, connections_per_address: 4000 }\n";
    let server = Server::start_in(home(), limits);
    let file = |name: &str| std::fs::read_to_string(server.home.path(name)).expect("a file");
    let pair = file("issued/user-admin.crt") + &file("issued/user-admin.key");
    let pair = server.home.write("admin.pem", pair);
    let output = Command::new(program)
        .arg("run")
        .arg(format!("https://{}/api/v1/openapi.json", server.address))
        .arg("--request-cert")
        .arg(pair)
        .arg("--tls-verify")
        .arg(server.home.path("cluster.crt"))
        .args(["--phases", "coverage,fuzzing", "--max-examples", "10", "--checks", CHECKS])
        .args([
            "--request-retries",
            "2",
            "--continue-on-failure",
            "--generation-deterministic",
            "--no-shrink",
            "--no-color",
        ])
        .current_dir(server.home.path(""))
        .output()
        .expect("Schemathesis");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    let generated =
        report.lines().find_map(|line| line.trim().split(" generated").next()?.parse::<u32>().ok());
    assert!(generated.is_some_and(|count| count > 500), "{report}");
    server.home.ok(&["audit", "verify"]);
}
