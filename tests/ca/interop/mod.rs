//! Everything that is issued, judged by five implementations that share no code with ours.
//!
//! Each is asked the same three things: does it accept a certificate for the purpose of its role,
//! refuse it for every other purpose, and refuse it for everything once it is revoked?

mod gnutls;
mod nss;
mod openssl;
mod python;
mod rustls_webpki;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::home::{Finished, Home};

const KEY_TYPES: [&str; 6] = ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"];

/// What a certificate may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Client,
    Server,
    /// Anything else: signing mail, code, time stamps, other certificates.
    Other,
}

/// One issued certificate and what it is good for.
struct Leaf {
    /// What a failure calls it: role, key types, what happened to it.
    label: String,
    certificate: PathBuf,
    key: PathBuf,
    key_type: &'static str,
    serial_number: String,
    /// Whether it is a server's too; each is a client's.
    serves: bool,
    revoked: bool,
}

impl Leaf {
    fn is_good_for(&self, purpose: Purpose) -> bool {
        !self.revoked && (purpose == Purpose::Client || purpose == Purpose::Server && self.serves)
    }
}

/// One cluster, of one type of root key.
struct Cluster {
    home: Home,
    root_key_type: &'static str,
    leaves: Vec<Leaf>,
}

impl Cluster {
    fn bundle(&self) -> PathBuf {
        self.home.path("cluster.crt")
    }

    fn crl(&self) -> PathBuf {
        self.home.path("cluster.crl")
    }

    fn new(root_key_type: &'static str, leaf_key_types: &[&'static str]) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop").join(root_key_type);
        let home = Home::at(directory);
        home.ok(&["initialize", "prod", "--key-type", root_key_type]);
        let mut cluster = Self { home, root_key_type, leaves: Vec::new() };
        for key_type in leaf_key_types {
            cluster.issue(&["create-control", &format!("{key_type}.example.com")], key_type, true);
            cluster.issue(&["create-node"], key_type, false);
            cluster.issue(&["create-api-user", &format!("user-of-{key_type}")], key_type, false);
        }
        let key_type = leaf_key_types[0];
        cluster.issue(&["create-control", "10.0.0.1", "--san", "::1"], key_type, true);
        cluster.issue(&["create-node", "--san", "node.example.com", "--san", "10.0.0.2"], key_type, true);
        cluster.issue(&["create-control", "revoked.example.com"], key_type, true);
        cluster.revoke_last();
        cluster.issue(&["create-node"], key_type, false);
        cluster.revoke_last();
        cluster.issue(&["create-api-user", "revoked"], key_type, false);
        cluster.revoke_last();
        cluster
    }

    fn issue(&mut self, command: &[&str], key_type: &'static str, serves: bool) {
        let issued = self.home.ok(&[command, &["--key-type", key_type]].concat());
        let text = |field: &str| issued[field].as_str().expect("text").to_owned();
        self.leaves.push(Leaf {
            label: format!("{} ({key_type} under {})", command.join(" "), self.root_key_type),
            certificate: text("certificate").into(),
            key: text("key").into(),
            key_type,
            serial_number: text("serial_number"),
            serves,
            revoked: false,
        });
    }

    fn revoke_last(&mut self) {
        let leaf = self.leaves.last_mut().expect("a leaf");
        self.home.ok(&["revoke", &leaf.serial_number]);
        leaf.label.push_str(", revoked");
        leaf.revoked = true;
    }
}

/// Each role with each type of key under the default root, and each role under other roots.
static CLUSTERS: LazyLock<Vec<Cluster>> = LazyLock::new(|| {
    let others = ["ed25519", "ecdsa-p384", "rsa-2048"];
    let roots = std::iter::once(Cluster::new("ecdsa-p256", &KEY_TYPES));
    roots.chain(others.map(|root| Cluster::new(root, &["ecdsa-p256"]))).collect()
});

/// Asks `verdict` about every certificate and purpose, and fails with all that it gets wrong.
fn judge(purposes: &[(Purpose, &str)], mut verdict: impl FnMut(&Cluster, &Leaf, &str) -> Result<(), String>) {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for cluster in CLUSTERS.iter() {
        for leaf in &cluster.leaves {
            for (purpose, name) in purposes {
                asked += 1;
                let refused = verdict(cluster, leaf, name).err();
                let is_good = leaf.is_good_for(*purpose);
                // Where nothing else is wrong, the revocation must be the reason.
                let must_say_revoked = leaf.revoked && *purpose == Purpose::Client;
                wrong.extend(match refused {
                    Some(words) if is_good => Some(format!("{}: refused for {name}: {words}", leaf.label)),
                    Some(words) if must_say_revoked && !words.to_lowercase().contains("revoked") => {
                        Some(format!("{}: refused for another reason: {words}", leaf.label))
                    }
                    None if !is_good => Some(format!("{}: accepted for {name}", leaf.label)),
                    _ => None,
                });
            }
        }
    }
    assert!(asked > 0 && wrong.is_empty(), "{} of {asked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs a program that says yes by exiting with 0.
fn ask(program: &mut Command) -> Result<(), String> {
    let output =
        program.output().unwrap_or_else(|error| panic!("{program:?} is needed (scripts/test): {error}"));
    let finished = Finished::from(output);
    if finished.exit == Some(0) { Ok(()) } else { Err(format!("{}{}", finished.stdout, finished.stderr)) }
}
