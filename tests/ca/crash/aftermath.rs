//! What must be true of a home after a crash and one command more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cluster_ca::keys::PrivateKey;
use serde_json::Value;
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::home::Home;

/// What a crash left on the disk, before anything looks after it.
pub(crate) struct Aftermath {
    /// Serial numbers that were reserved and given up before.
    given_up: BTreeSet<String>,
    /// Serial numbers of all leaf certificates, those under temporary names included.
    signed: BTreeSet<String>,
    has_leftovers: bool,
}

impl Aftermath {
    /// Of a crash in a home where `given_up` were the [`reserved`] serial numbers before.
    pub(crate) fn of(home: &Home, given_up: BTreeSet<String>) -> Self {
        let files = files(home);
        Self {
            given_up,
            signed: files.iter().filter_map(|file| leaf_serial_number(file)).collect(),
            has_leftovers: files.iter().any(|file| is_temporary(file)),
        }
    }

    /// Runs the next command, which creates `user`, and checks everything that the crash must not
    /// have broken. What was found has been told by then, by this command unless it was `told`
    /// before; returns whether there was anything to tell.
    pub(crate) fn check(&self, home: &Home, user: &str, point: &str, told: bool) -> bool {
        let next = home.run(&["--json", "create-api-user", user]);
        assert_eq!(next.exit, Some(0), "{point}: the next command fails: {next:?}");
        let records = home.ok(&["list"]);
        let records = records.as_array().expect("an array");
        if self.has_leftovers || reserved(home) != self.given_up {
            assert!(
                told || !next.stderr.is_empty(),
                "{point}: the next command says nothing of what it found"
            );
        }
        home.ok(&["audit", "verify"]);

        let known: BTreeSet<String> = records.iter().map(|record| text(record, "serial_number")).collect();
        assert_eq!(known.len(), records.len(), "{point}: a serial number is there twice");
        let unknown: Vec<_> = self.signed.difference(&known).collect();
        assert!(unknown.is_empty(), "{point}: signed, and not in the inventory: {unknown:?}");

        check_files(home, records, point);
        check_crl(home, records, point);
        told || !next.stderr.is_empty()
    }
}

/// The serial numbers that were reserved and never used.
pub(crate) fn reserved(home: &Home) -> BTreeSet<String> {
    let list = home.ok(&["list", "--status", "reserved"]);
    list.as_array().expect("an array").iter().map(|record| text(record, "serial_number")).collect()
}

/// No temporary file, no half pair, no pair that the inventory does not know, none that it knows and
/// is not there.
fn check_files(home: &Home, records: &[Value], point: &str) {
    let mut expected = BTreeSet::new();
    let in_place = |record: &&Value| record["status"] != "reserved" && record["superseded_by"].is_null();
    for record in records.iter().filter(in_place) {
        let [certificate, key] = ["certificate", "key"].map(|field| PathBuf::from(text(record, field)));
        let found = leaf_serial_number(&certificate);
        assert_eq!(found, Some(text(record, "serial_number")), "{point}: {}", certificate.display());
        assert!(belong_together(&certificate, &key), "{point}: {} has another key", certificate.display());
        expected.extend([certificate, key]);
    }
    let found: BTreeSet<PathBuf> =
        files(home).into_iter().filter(|file| is_temporary(file) || is_below_issued(file, home)).collect();
    assert_eq!(found, expected, "{point}: the files in the home are not those in the inventory");
}

/// The list is the root's and names exactly the certificates that are revoked.
fn check_crl(home: &Home, records: &[Value], point: &str) {
    let [root, crl] = ["cluster.crt", "cluster.crl"].map(|name| der(&home.path(name)).expect("PEM"));
    let (_, root) = X509Certificate::from_der(&root).expect("a root");
    let (_, crl) = CertificateRevocationList::from_der(&crl).expect("a CRL");
    crl.verify_signature(root.public_key()).unwrap_or_else(|error| panic!("{point}: the CRL: {error}"));
    let listed: BTreeSet<String> =
        crl.iter_revoked_certificates().map(|entry| hexadecimal(entry.raw_serial())).collect();
    let revoked: BTreeSet<String> = records
        .iter()
        .filter(|record| record["status"] == "revoked" || record["status"] == "on-hold")
        .map(|record| text(record, "serial_number"))
        .collect();
    assert_eq!(listed, revoked, "{point}: the CRL and the inventory disagree");
}

fn text(record: &Value, field: &str) -> String {
    record[field].as_str().unwrap_or_else(|| panic!("no {field} in {record}")).to_owned()
}

fn files(home: &Home) -> Vec<PathBuf> {
    home.contents().into_keys().map(|name| home.path(name)).filter(|path| path.is_file()).collect()
}

fn is_temporary(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "tmp")
}

fn is_below_issued(file: &Path, home: &Home) -> bool {
    file.starts_with(home.path("issued"))
}

fn leaf_serial_number(file: &Path) -> Option<String> {
    let der = der(file)?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    (!certificate.is_ca()).then(|| hexadecimal(certificate.raw_serial()))
}

fn der(file: &Path) -> Option<Vec<u8>> {
    Pem::iter_from_buffer(&fs::read(file).ok()?).next()?.ok().map(|pem| pem.contents)
}

/// A serial number as the inventory writes it: all of its 128 bits, and no octet for the sign.
fn hexadecimal(number: &[u8]) -> String {
    let digits: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{:0>32}", digits.trim_start_matches("00"))
}

pub(crate) fn belong_together(certificate: &Path, key: &Path) -> bool {
    let Some(der) = der(certificate) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    PrivateKey::open(key).is_ok_and(|key| key.public_key_info() == certificate.public_key().raw)
}
