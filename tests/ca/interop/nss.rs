//! NSS, the library of Firefox, by its `certutil` and `crlutil`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Cluster, Leaf, Purpose, ask, judge};

/// Usages as `certutil -u` has them: C client, V server, S mail, J code, O OCSP, L authority.
const PURPOSES: [(Purpose, &str); 6] = [
    (Purpose::Client, "C"),
    (Purpose::Server, "V"),
    (Purpose::Other, "S"),
    (Purpose::Other, "J"),
    (Purpose::Other, "O"),
    (Purpose::Other, "L"),
];

#[test]
fn nss_accepts_each_certificate_for_its_purpose_only() {
    let mut databases: HashMap<&str, Database> = HashMap::new();
    judge(&PURPOSES, |cluster, leaf, usage| {
        if !is_known_to_nss(cluster, leaf) {
            return expected(leaf, usage);
        }
        let database = databases.entry(cluster.root_key_type).or_insert_with(|| Database::new(cluster));
        database.hold(&leaf.certificate);
        database.verify(usage)
    });
}

/// The NSS of Debian 12 (3.87) has no Ed25519 in certificates; it came with 3.99.
fn is_known_to_nss(cluster: &Cluster, leaf: &Leaf) -> bool {
    cluster.root_key_type != "ed25519" && leaf.key_type != "ed25519"
}

/// The answer that leaves a certificate out of the judgement.
fn expected(leaf: &Leaf, usage: &str) -> Result<(), String> {
    let asked = PURPOSES.iter().find(|(_, name)| *name == usage).map(|(purpose, _)| *purpose);
    if asked.is_some_and(|purpose| leaf.is_good_for(purpose)) { Ok(()) } else { Err("revoked".to_owned()) }
}

/// NSS judges what is in its database: the root, its CRL and one certificate at a time, since those
/// with the same subject would share one entry.
struct Database {
    directory: TempDir,
    held: Option<PathBuf>,
}

impl Database {
    fn new(cluster: &Cluster) -> Self {
        let database = Self { directory: tempfile::tempdir().expect("a temporary directory"), held: None };
        must(ask(database.tool("certutil").args(["-N", "--empty-password"])));
        must(database.add("root", "CT,C,C", &cluster.bundle()));
        let der = database.directory.path().join("crl.der");
        must(ask(Command::new("openssl")
            .args(["crl", "-outform", "DER", "-in"])
            .arg(cluster.crl())
            .arg("-out")
            .arg(&der)));
        must(ask(database.tool("crlutil").args(["-I", "-t", "1", "-i"]).arg(&der)));
        database
    }

    fn hold(&mut self, certificate: &Path) {
        if self.held.as_deref() == Some(certificate) {
            return;
        }
        if self.held.is_some() {
            must(ask(self.tool("certutil").args(["-D", "-n", "leaf"])));
        }
        must(self.add("leaf", ",,", certificate));
        self.held = Some(certificate.to_owned());
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("-d").arg(format!("sql:{}", self.directory.path().display()));
        command
    }

    fn add(&self, name: &str, trust: &str, file: &Path) -> Result<(), String> {
        ask(self.tool("certutil").args(["-A", "-n", name, "-t", trust, "-i"]).arg(file))
    }

    fn verify(&self, usage: &str) -> Result<(), String> {
        ask(self.tool("certutil").args(["-V", "-e", "-n", "leaf", "-u", usage]))
    }
}

fn must(answer: Result<(), String>) {
    answer.unwrap_or_else(|words| panic!("the NSS database: {words}"));
}
