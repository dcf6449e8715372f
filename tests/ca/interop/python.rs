//! Python's `ssl`: whole handshakes, each certificate on the side of its purpose.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{Cluster, Leaf, Purpose, judge};

#[test]
fn python_completes_a_handshake_for_each_purpose_only() {
    let mut python = Python::start();
    judge(&[(Purpose::Client, "client"), (Purpose::Server, "server")], |cluster, leaf, side| {
        let find = |serves: bool| cluster.leaves.iter().find(|leaf| leaf.serves == serves && !leaf.revoked);
        let (server, client) = (find(true).expect("a server"), find(false).expect("a client"));
        // Any good certificate takes the other side.
        let (server, client) = if side == "client" { (server, leaf) } else { (leaf, client) };
        let host = if server.label.starts_with("create-node --san") {
            "node.example.com"
        } else {
            "control-service"
        };
        python.handshake(cluster, server, host, client)
    });
}

struct Python {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ca/interop/handshake.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed (scripts/test)");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, answers }
    }

    fn handshake(
        &mut self,
        cluster: &Cluster,
        server: &Leaf,
        host: &str,
        client: &Leaf,
    ) -> Result<(), String> {
        let (bundle, crl) = (cluster.bundle(), cluster.crl());
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        let question = [
            text(&bundle),
            text(&crl),
            text(&server.certificate),
            text(&server.key),
            host.to_owned(),
            text(&client.certificate),
            text(&client.key),
        ];
        let stdin = self.process.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{}", question.join("\t")).expect("python3 listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("python3 answers");
        if answer.trim() == "ok" { Ok(()) } else { Err(answer) }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
