//! Random sequences of changes against a real process: the number of the CRL in force of an issuer never falls (T12).
//!
//! Files go forward and back, pushes and reloads succeed and fail, the process is stopped and killed, its files are
//! truncated, and trust anchors come and go. The seeds are fixed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{CertifiedIssuer, KeyPair};
use serde_json::Value;
use time::Duration;

use crate::cluster::{Cluster, crl_by, now};
use crate::harness::Setup;

const STEPS: usize = 45;

/// Numbers that look random and are the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// An issuer with the newest number that any of its CRLs has, and the CRL in the file.
struct Issuer {
    authority: CertifiedIssuer<'static, KeyPair>,
    key_identifier: String,
    serial: Vec<u8>,
    top: u64,
    in_file: Option<String>,
}

impl Issuer {
    fn new(authority: CertifiedIssuer<'static, KeyPair>) -> Self {
        let certificate = cluster_ca::x509::Certificate::from_der(authority.der()).unwrap();
        Self {
            key_identifier: certificate.subject_key_identifier.unwrap().to_string(),
            serial: certificate.serial_number.as_be_bytes().to_vec(),
            authority,
            top: 1,
            in_file: None,
        }
    }
}

struct Model {
    seed: u64,
    dice: Dice,
    directory: tempfile::TempDir,
    child: Option<(Child, String)>,
    /// The root, an authority below it, and a second root.
    issuers: [Issuer; 3],
    other_is_trusted: bool,
    /// The highest number that was seen in force, and the CRLs by issuer and number.
    highest: BTreeMap<usize, u64>,
    made: BTreeMap<(usize, u64, bool), String>,
    trail: Vec<String>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let other = Cluster::new("other");
        let mut setup = Setup::new();
        setup.upstream = Some("127.0.0.1:1".parse().unwrap());
        let users = setup.cluster.intermediate("users");
        setup.files = vec![("users.crt", users.pem())];
        setup.trust = "intermediates: users.crt, crl: cluster.crl".to_owned();
        setup.more =
            "admin: admin.sock\nstate_directory: state\noperators: [{ role: api-user, name: admin }]";
        setup.threads = 1;
        let directory = tempfile::tempdir().unwrap();
        setup.write(directory.path());
        setup.cluster.leaf("api-user", "admin").write(directory.path(), "admin");
        let issuers = [setup.cluster.root, users, other.root].map(Issuer::new);
        let mut model = Self {
            seed,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            directory,
            child: None,
            issuers,
            other_is_trusted: true,
            highest: BTreeMap::new(),
            made: BTreeMap::new(),
            trail: Vec::new(),
        };
        for index in 0..3 {
            model.issuers[index].in_file = Some(model.crl(index, 1, false));
        }
        model.write_bundle();
        model.write_crls();
        model
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn replace(&self, name: &str, contents: &str) {
        fs::write(self.path(".tmp"), contents).unwrap();
        fs::rename(self.path(".tmp"), self.path(name)).unwrap();
    }

    /// The CRL of an issuer with this number. The root's revoke the authority below it now and then.
    fn crl(&mut self, index: usize, number: u64, variant: bool) -> String {
        let revokes = index == 0 && number > 1 && self.dice.below(5) == 0;
        let mut serials = vec![vec![1, u8::try_from(number % 250).unwrap(), u8::from(variant)]];
        serials.extend(revokes.then(|| self.issuers[1].serial.clone()));
        let authority = &self.issuers[index].authority;
        let made = self.made.entry((index, number, variant));
        made.or_insert_with(|| crl_by(authority, number, serials.into_iter(), now() + Duration::days(10)))
            .clone()
    }

    /// The next CRL of an issuer: newer, the same again, older, or another one of the same number.
    fn next_crl(&mut self, index: usize) -> String {
        let top = self.issuers[index].top;
        let number = match self.dice.below(10) {
            0..6 => top + 1,
            6 | 7 => top,
            _ => top.saturating_sub(1 + self.dice.below(3)).max(1),
        };
        self.issuers[index].top = top.max(number);
        let variant = self.dice.below(10) == 0;
        self.trail.push(format!("issuer {index}: CRL {number}{}", if variant { "'" } else { "" }));
        self.crl(index, number, variant)
    }

    fn change_files(&mut self) {
        for index in 0..3 {
            if self.dice.below(10) < 6 {
                self.issuers[index].in_file = Some(self.next_crl(index));
            }
        }
    }

    fn write_crls(&mut self) {
        let mut parts: Vec<_> = self.issuers.iter().filter_map(|issuer| issuer.in_file.clone()).collect();
        if self.dice.below(2) == 0 {
            parts.reverse();
        }
        self.replace("cluster.crl", &parts.concat());
    }

    fn write_bundle(&self) {
        let trusted = if self.other_is_trusted { &self.issuers[2..] } else { &[] };
        let bundle: String =
            self.issuers[..1].iter().chain(trusted).map(|issuer| issuer.authority.pem()).collect();
        self.replace("cluster.crt", &bundle);
    }

    /// Starts the process; `false` if it refuses to.
    fn start(&mut self) -> bool {
        let mut child = crate::process::gateway(self.directory.path(), &["run", "--config", "gateway.yaml"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let mut all = String::new();
        while said.read_line(&mut line).unwrap() > 0 {
            if let Some(address) = line.trim().strip_prefix("listening on ") {
                self.child = Some((child, address.to_owned()));
                std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
                return true;
            }
            all.push_str(&line);
            line.clear();
        }
        child.wait().unwrap();
        self.trail.push(format!("start refused: {}", all.lines().last().unwrap_or_default()));
        false
    }

    fn end(&mut self, how: &str) {
        let (mut child, _) = self.child.take().unwrap();
        let status = Command::new("kill").args([how, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        child.wait().unwrap();
    }

    fn admin(&self, command: &str) -> Value {
        let mut stream = UnixStream::connect(self.path("admin.sock")).unwrap();
        writeln!(stream, "{{\"command\":\"{command}\"}}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    fn reload(&mut self) {
        let answer = self.admin("reload");
        self.trail.push(format!("reload: {} {}", answer["ok"], answer["error"]["code"]));
    }

    fn push(&mut self) {
        let mut body = String::new();
        for index in 0..3 {
            if self.dice.below(10) < 6 {
                body.push_str(&self.next_crl(index));
            }
        }
        fs::write(self.path("pushed.crl"), body).unwrap();
        let (_, address) = self.child.as_ref().unwrap();
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "20", "--output", "answer", "--write-out", "%{http_code}"])
            .args(["--cacert", "root.crt", "--cert", "admin.crt", "--key", "admin.key"])
            .args(["--upload-file", "pushed.crl"])
            .arg(format!("https://{address}/.well-known/cluster/crl"))
            .current_dir(self.directory.path())
            .output()
            .expect("curl is installed");
        self.trail.push(format!("push: {}", String::from_utf8_lossy(&output.stdout)));
    }

    /// Restarts. A refusal is right, and then the newest CRLs that were in force must start it.
    fn restart(&mut self, how: &str) {
        self.end(how);
        self.trail.push(format!("ended by {how}"));
        self.come_back();
    }

    fn come_back(&mut self) {
        if self.start() {
            return;
        }
        for (index, number) in self.recorded() {
            let (made, issuer) = (&self.made, &mut self.issuers[index]);
            let recorded = number.and_then(|(number, sha256)| {
                [false, true].into_iter().filter_map(|variant| made.get(&(index, number, variant))).find(
                    |crl| {
                        let der = pem_to_der(crl);
                        cluster_ca::x509::Sha256::of(&der).to_string() == sha256
                    },
                )
            });
            issuer.in_file = recorded.cloned().or(issuer.in_file.take());
        }
        self.other_is_trusted = true;
        self.write_bundle();
        self.write_crls();
        assert!(self.start(), "seed {}: the newest CRLs do not start it: {:#?}", self.seed, self.trail);
    }

    /// What the state directory says is the newest of each issuer.
    fn recorded(&self) -> Vec<(usize, Option<(u64, String)>)> {
        let of = |issuer: &Issuer| {
            let path = self.path("state").join(format!("{}.newest", issuer.key_identifier));
            let text = fs::read_to_string(path).ok()?;
            let (number, sha256) = text.trim().split_once(' ')?;
            Some((number.parse().ok()?, sha256.to_owned()))
        };
        self.issuers.iter().map(of).enumerate().collect()
    }

    /// Cuts off the end of a file of the state directory while the process is down, as a bad disk would.
    fn truncate_state(&mut self) {
        self.end("-KILL");
        let files: Vec<_> =
            fs::read_dir(self.path("state")).unwrap().map(|file| file.unwrap().path()).collect();
        let Ok(count) = u64::try_from(files.len()) else { return };
        if let Some(path) = (count > 0).then(|| &files[usize::try_from(self.dice.below(count)).unwrap()]) {
            let whole = fs::read(path).unwrap();
            let length = self.dice.below(u64::try_from(whole.len()).unwrap());
            fs::write(path, &whole[..usize::try_from(length).unwrap()]).unwrap();
            self.trail.push(format!("truncated {} to {length}", path.display()));
            if self.start() {
                self.check();
                self.end("-TERM");
            }
            fs::write(path, whole).unwrap();
        }
        self.come_back();
    }

    fn step(&mut self) {
        match self.dice.below(12) {
            0 | 1 => {
                self.change_files();
                self.write_crls();
                self.reload();
            }
            2 => {
                let config = fs::read_to_string(self.path("gateway.yaml")).unwrap();
                self.replace("gateway.yaml", &format!("{config}\nnonsense: 1\n"));
                self.change_files();
                self.write_crls();
                self.reload();
                self.check();
                self.replace("gateway.yaml", &config);
            }
            3..6 => self.push(),
            6 => self.restart("-TERM"),
            7 => {
                self.change_files();
                self.write_crls();
                self.restart("-KILL");
            }
            8 => {
                self.change_files();
                self.write_crls();
                let whole = fs::read_to_string(self.path("cluster.crl")).unwrap();
                let length = self.dice.below(u64::try_from(whole.len()).unwrap());
                self.replace("cluster.crl", &whole[..usize::try_from(length).unwrap()]);
                self.trail.push(format!("CRL file truncated to {length}"));
                self.reload();
                self.check();
                self.replace("cluster.crl", &whole);
            }
            9 => self.truncate_state(),
            10 => {
                self.other_is_trusted = !self.other_is_trusted;
                self.trail.push(format!("other root trusted: {}", self.other_is_trusted));
                self.write_bundle();
                self.change_files();
                self.write_crls();
                self.reload();
            }
            _ => {
                let index = usize::try_from(self.dice.below(3)).unwrap();
                let lost = self.issuers[index].in_file.take();
                self.trail.push(format!("issuer {index}: no CRL in the file"));
                self.write_crls();
                self.reload();
                self.check();
                self.issuers[index].in_file = lost;
                self.write_crls();
                self.reload();
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let status = self.admin("status");
        for crl in status["result"]["crl"].as_array().unwrap() {
            let of = |issuer: &Issuer| crl["issuer"] == issuer.key_identifier;
            let index = self.issuers.iter().position(of).unwrap();
            let number: u64 = crl["number"].as_str().unwrap().parse().unwrap();
            let highest = self.highest.entry(index).or_default();
            assert!(
                number >= *highest,
                "seed {}: CRL {number} of issuer {index} after {highest}: {:#?}",
                self.seed,
                self.trail
            );
            *highest = number;
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pem_to_der(text: &str) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(body).unwrap()
}

#[test]
fn t12_the_number_in_force_of_an_issuer_never_falls_whatever_happens() {
    let run = |seed: u64| {
        let mut model = Model::new(seed);
        fs::write(model.path("root.crt"), model.issuers[0].authority.pem()).unwrap();
        assert!(model.start(), "{:#?}", model.trail);
        model.check();
        for _ in 0..STEPS {
            model.step();
        }
        model.end("-TERM");
        // Enough has happened for the promise to mean something.
        assert!(model.highest.values().all(|number| *number > 3), "seed {seed}: {:?}", model.highest);
    };
    std::thread::scope(|scope| {
        for seed in [1, 2, 3, 4] {
            scope.spawn(move || run(seed));
        }
    });
}
