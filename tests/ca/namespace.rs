//! A test run again in a mount namespace of its own, where it may mount what it likes.

use std::process::Command;

const INSIDE: &str = "CLUSTER_CA_TEST_INSIDE_NAMESPACE";

/// Whether this is the run inside; outside, it runs the test `name` of `module` there and checks that
/// it passes. Without the right to make one (root, or user namespaces) that fails and says so.
pub(crate) fn is_inside(module: &str, name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let module = module.split_once("::").expect("a module").1;
    let unprivileged = !rustix::process::geteuid().is_root();
    let output = Command::new("unshare")
        .arg("--mount")
        .args(unprivileged.then_some("--map-root-user"))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", &format!("{module}::{name}")])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is needed (scripts/test)");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in a mount namespace (root needed): {said}"
    );
    false
}
