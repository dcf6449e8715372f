//! Gateways: the real program, with the files of a home.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::home::Home;

const CONFIGURATION: &str = r#"
listen: LISTEN
identity: { certificate: issued/control-127.0.0.1.crt, key: issued/control-127.0.0.1.key }
trust: { bundle: cluster.crt, crl: cluster.crl }
upstreams:
  api: { url: "http://127.0.0.1:1" }
routes:
  - { path: "/v1/**", methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;

/// Who may push lists, and where they are kept.
pub(crate) const OPERATORS: &str = "operators: [{ role: api-user, name: admin }]\nstate_directory: state\n";

/// A gateway in front of nothing; ended when it is dropped.
pub(crate) struct Live {
    child: Child,
    pub(crate) address: String,
    _said: Box<dyn Read>,
    machine: Option<tempfile::TempDir>,
}

impl Live {
    /// With the very files of a home.
    pub(crate) fn start(home: &Home) -> Self {
        Self::start_on(home, "127.0.0.1")
    }

    /// The same on an address of this machine, which need not be the one that its certificate names.
    pub(crate) fn start_on(home: &Home, address: &str) -> Self {
        let configuration = home.write("gateway.yaml.config", configured(&format!("{address}:0"), ""));
        Self::run(&home.path(""), &configuration, None)
    }

    /// On a machine of its own, to which the files of a home were copied, and where lists can be pushed
    /// to.
    pub(crate) fn on_a_machine(home: &Home) -> Self {
        Self::on_a_machine_with(home, "127.0.0.1:0", OPERATORS)
    }

    /// The same with an address and more lines of configuration.
    pub(crate) fn on_a_machine_with(home: &Home, listen: &str, more: &str) -> Self {
        Self::on_a_machine_as(home, &configured(listen, more), &[])
    }

    /// The same for users with tokens, who need no certificate.
    pub(crate) fn for_users(home: &Home) -> Self {
        let tokens = format!("{OPERATORS}tokens: {{ statement: cluster.tokens, clients: any }}\n");
        let configuration = configured("127.0.0.1:0", &tokens)
            .replace("[{ role: api-user }]", "[{ role: api-user }, { user: \"*\", org: \"*\" }]");
        Self::on_a_machine_as(home, &configuration, &["cluster.tokens"])
    }

    fn on_a_machine_as(home: &Home, configuration: &str, more_files: &[&str]) -> Self {
        let machine = tempfile::tempdir().expect("a directory");
        let place = |name: &str| machine.path().join(name);
        for directory in ["issued", "state"] {
            fs::DirBuilder::new().mode(0o700).create(place(directory)).expect("a directory");
        }
        let files =
            ["cluster.crt", "cluster.crl", "issued/control-127.0.0.1.crt", "issued/control-127.0.0.1.key"];
        for name in files.iter().chain(more_files) {
            fs::copy(home.path(name), place(name)).expect("a copy");
        }
        fs::write(place("gateway.yaml"), configuration).expect("a file");
        let directory = machine.path().to_owned();
        Self::run(&directory, &place("gateway.yaml"), Some(machine))
    }

    /// Where the files of its machine are.
    pub(crate) fn directory(&self) -> &Path {
        self.machine.as_ref().expect("a machine of its own").path()
    }

    fn run(directory: &Path, configuration: &PathBuf, machine: Option<tempfile::TempDir>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"))
            .args(["run", "--config"])
            .arg(configuration)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let mut said = BufReader::new(child.stderr.take().expect("stderr"));
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert!(said.read_line(&mut line).expect("text") > 0, "it ended without listening");
        }
        let address = line.trim_start_matches("listening on ").trim().to_owned();
        Self { child, address, _said: Box::new(said), machine }
    }
}

fn configured(listen: &str, more: &str) -> String {
    CONFIGURATION.replace("LISTEN", listen) + more
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
