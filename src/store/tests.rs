//! The inventory's promises to its callers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, IsCa, KeyPair};
use rusqlite::Connection;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::cluster::ClusterRecord;
use super::connection::resolve;
use super::error::StoreError;
use super::filter::Filter;
use super::inventory::Inventory;
use super::issuer::{CurrentCrl, IssuerState};
use super::record::{Record, Reservation};
use super::status::{RecordCounts, RecordStatus};
use super::transaction::Transaction;
use crate::audit::{Action, Outcome, Provenance};
use crate::error::Coded;
use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::revocation::RevocationReason::{CertificateHold, KeyCompromise, Superseded, Unspecified};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

const NOW: OffsetDateTime = datetime!(2027-01-31 12:00 UTC);

struct Home {
    directory: tempfile::TempDir,
    inventory: Inventory,
    issuer: KeyIdentifier,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = root();
        let inventory =
            Inventory::create(&directory.path().join("ca.db"), &cluster(), &root, &provenance()).unwrap();
        Self { directory, inventory, issuer: root.subject_key_identifier.unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("ca.db")
    }

    fn begin(&mut self) -> Transaction<'_> {
        self.inventory.begin(&provenance()).unwrap()
    }

    fn reserve(&mut self, reservations: &[Reservation]) -> Result<(), StoreError> {
        let issuer = self.issuer.clone();
        self.begin().reserve(&issuer, reservations)?.commit().map(drop)
    }

    /// Issues certificates under their reservations; without one, under a reservation that was never recorded.
    fn issue(&mut self, certificates: &[Certificate]) -> Result<(), StoreError> {
        let issuer = self.issuer.clone();
        let reserved = |certificate: &Certificate| {
            let found = self.inventory.find(certificate.serial_number).unwrap().pop();
            found.map_or_else(|| reservation(1, "nobody"), |record| record.reservation)
        };
        let reservations: Vec<_> = certificates.iter().map(reserved).collect();
        self.begin().issue(&issuer, &reservations, certificates)?.commit().map(drop)
    }

    fn revoke(&mut self, number: u8, reason: RevocationReason) -> Result<(), StoreError> {
        let issuer = self.issuer.clone();
        self.begin().revoke(&issuer, serial(number), reason)?.commit().map(drop)
    }

    /// Reserve and issue one certificate for the user `name`, valid until `not_after`.
    fn add(&mut self, number: u8, name: &str, not_after: OffsetDateTime) {
        self.reserve(&[reservation(number, name)]).unwrap();
        self.issue(&[certificate(number, not_after)]).unwrap();
    }

    /// Run SQL that this program never would.
    fn tamper(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn one(&self, number: u8) -> Record {
        self.inventory.find(serial(number)).unwrap().pop().unwrap()
    }

    fn names(&self, filter: &Filter) -> Vec<String> {
        let mut names = Vec::new();
        self.inventory
            .list(filter, NOW, |record| {
                names.push(record.reservation.name.to_string());
                Ok::<_, StoreError>(())
            })
            .unwrap();
        names
    }

    fn entries(&self) -> Vec<crate::audit::AuditEntry> {
        let mut entries = Vec::new();
        self.inventory
            .audit_entries(0, |entry| {
                entries.push(entry);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        entries
    }
}

fn cluster() -> ClusterRecord {
    ClusterRecord {
        name: "prod".parse().unwrap(),
        uuid: Uuid::from_bytes([7; 16]),
        trust_domain: "prod".parse().unwrap(),
        created_at: NOW,
    }
}

fn provenance() -> Provenance {
    Provenance { at: NOW, actor: "alice@ops1".parse().unwrap(), reason: Some("a test".to_owned()) }
}

fn root() -> Certificate {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    signed(params)
}

fn certificate(number: u8, not_after: OffsetDateTime) -> Certificate {
    let mut params = CertificateParams::default();
    params.serial_number = Some(vec![number].into());
    params.not_before = NOW - time::Duration::DAY;
    params.not_after = not_after;
    signed(params)
}

fn signed(params: CertificateParams) -> Certificate {
    let key = KeyPair::generate().unwrap();
    Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
}

fn serial(number: u8) -> SerialNumber {
    SerialNumber::from_be_bytes(&[number]).unwrap()
}

fn reservation(number: u8, name: &str) -> Reservation {
    Reservation {
        serial_number: serial(number),
        role: Role::ApiUser,
        name: Name::of_user(name).unwrap(),
        profile: Sha256::of(b"profile"),
        certificate_path: format!("issued/user-{name}.crt").into(),
        key_path: Some(format!("issued/user-{name}.key").into()),
        supersedes: None,
        label: None,
    }
}

#[test]
fn the_files_are_private_from_the_first_byte() {
    let home = Home::new();
    let files: Vec<_> = fs::read_dir(home.directory.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(!files.is_empty());
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn what_was_created_is_read_back_and_nothing_is_overwritten() {
    let home = Home::new();
    assert_eq!(home.inventory.cluster().unwrap(), cluster());
    let issuers = home.inventory.issuers().unwrap();
    assert_eq!((issuers.len(), &issuers[0].key_id), (1, &home.issuer));
    assert_eq!((issuers[0].state, issuers[0].crl), (IssuerState::Active, None));
    let entries = home.entries();
    assert_eq!((entries.len(), entries[0].event.action), (1, Action::ClusterInitialize));
    let again = Inventory::create(&home.path(), &cluster(), &root(), &provenance());
    assert_eq!(again.unwrap_err().code(), "file.exists");
    assert!(home.inventory.cluster().is_ok());
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut root = root();
    root.subject_key_identifier = None;
    let refused = Inventory::create(&directory.path().join("ca.db"), &cluster(), &root, &provenance());
    assert_eq!(refused.unwrap_err().code(), "store.no_key_identifier");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_an_inventory_of_this_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.db");
    let codes = |path: &Path| {
        [Inventory::open_reader(path), Inventory::open_writer(path, &provenance())]
            .map(|opened| opened.unwrap_err().code())
    };
    assert_eq!(codes(&path), ["store.missing"; 2]);
    assert!(!path.exists(), "nothing is made by looking");

    fs::write(&path, b"").unwrap();
    assert_eq!(codes(&path), ["store.incomplete"; 2]);
    fs::write(&path, "no database at all, but long enough to have a header ".repeat(40)).unwrap();
    assert_eq!(codes(&path), ["store.foreign"; 2]);
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(codes(&path), ["store.foreign"; 2]);

    let home = Home::new();
    home.tamper("PRAGMA user_version = 0");
    assert_eq!(codes(&home.path()), ["store.foreign"; 2]);
    home.tamper("PRAGMA user_version = 1");
    assert_eq!(codes(&home.path()), ["store.schema"; 2], "it has tables of a later version");
    home.tamper("PRAGMA user_version = 99");
    assert_eq!(codes(&home.path()), ["store.newer"; 2]);
}

#[test]
fn only_the_tables_indexes_and_triggers_of_this_program_are_accepted() {
    let quiet = "CREATE TRIGGER quiet AFTER UPDATE OF revoked_at ON certificate BEGIN \
         UPDATE certificate SET revoked_at = NULL WHERE id = new.id; END";
    let as_written = "UPDATE sqlite_schema SET sql = replace(sql, 'placed            INTEGER NOT NULL DEFAULT 0', \
         'placed INTEGER NOT NULL DEFAULT 0') WHERE name = 'certificate'";
    for (change, object) in [
        (quiet.to_owned(), "quiet"),
        ("CREATE VIEW seen AS SELECT 1".to_owned(), "seen"),
        ("CREATE TABLE more (x)".to_owned(), "more"),
        ("CREATE INDEX more ON certificate (name)".to_owned(), "more"),
        ("ANALYZE".to_owned(), "sqlite_stat1"),
        ("DROP INDEX certificate_by_name".to_owned(), "certificate_by_name"),
        ("ALTER TABLE issuer ADD COLUMN x INTEGER AS (1)".to_owned(), "issuer"),
        (format!("PRAGMA writable_schema = ON; {as_written}"), "certificate"),
    ] {
        let home = Home::new();
        home.tamper(&change);
        for opened in
            [Inventory::open_reader(&home.path()), Inventory::open_writer(&home.path(), &provenance())]
        {
            let error = opened.unwrap_err();
            assert_eq!(error.code(), "store.schema", "{change}");
            assert!(error.to_string().contains(object), "{change}: {error}");
        }
    }
}

#[test]
fn a_certificate_is_reserved_then_issued_then_placed() {
    let mut home = Home::new();
    home.reserve(&[reservation(1, "alice"), reservation(2, "bob")]).unwrap();
    let reserved = home.inventory.reserved().unwrap();
    assert_eq!(reserved.len(), 2);
    assert_eq!((&reserved[0].reservation, reserved[0].reserved_at), (&reservation(1, "alice"), NOW));
    assert_eq!(reserved[0].status(NOW), RecordStatus::Reserved);

    let alice = certificate(1, NOW + time::Duration::DAY);
    home.issue(std::slice::from_ref(&alice)).unwrap();
    assert_eq!(home.inventory.reserved().unwrap().len(), 1);
    let record = home.one(1);
    let issue = record.issue.unwrap();
    assert_eq!(record.issuer, home.issuer);
    assert_eq!((issue.not_before, issue.not_after), (alice.not_before, alice.not_after));
    assert_eq!(issue.fingerprint, alice.fingerprint());
    assert_eq!(issue.public_key, Sha256::of(&alice.public_key_info));
    assert_eq!(home.inventory.certificate(&home.issuer, serial(1)).unwrap(), alice);
    assert_eq!(home.inventory.unplaced().unwrap(), [record]);

    let issuer = home.issuer.clone();
    home.inventory.mark_placed(issue.entry + 1..=issue.entry + 9).unwrap();
    assert!(!home.one(1).issue.unwrap().placed, "only the entries that are given");
    home.inventory.mark_placed(1..=issue.entry).unwrap();
    assert!(home.inventory.unplaced().unwrap().is_empty());
    assert!(home.one(1).issue.unwrap().placed);
    assert_eq!(home.inventory.reserved().unwrap().len(), 1, "what is only reserved is not placed");

    // Given up after a crash, it is still what it says it is.
    home.begin().settle(&issuer, serial(2), "never signed").unwrap().commit().unwrap();
    assert!(home.inventory.reserved().unwrap().is_empty());
    assert_eq!(home.names(&Filter { status: Some(RecordStatus::Reserved), ..Filter::default() }), ["bob"]);
}

#[test]
fn every_change_has_its_audit_entry_with_who_and_why() {
    let mut home = Home::new();
    home.reserve(&[reservation(1, "alice"), reservation(2, "bob")]).unwrap();
    home.issue(&[certificate(1, NOW), certificate(2, NOW)]).unwrap();
    home.revoke(1, KeyCompromise).unwrap();
    let entries = home.entries();
    let actions: Vec<_> = entries.iter().map(|entry| entry.event.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "cluster.initialize",
            "certificate.reserve",
            "certificate.issue",
            "certificate.issue",
            "certificate.revoke"
        ]
    );
    assert!(entries.iter().all(|entry| entry.event.provenance == provenance()));
    assert_eq!(entries[2].event.details["fingerprint"], home.one(1).issue.unwrap().fingerprint.to_string());
    let revocation = home.one(1).revocation.unwrap();
    assert_eq!(home.inventory.audit_entry(revocation.entry).unwrap().as_ref(), entries.last());
    assert_eq!(crate::audit::verify(&entries).unwrap(), home.inventory.audit_head().unwrap());
}

#[test]
fn a_serial_number_is_used_once_and_in_order() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    assert_eq!(
        home.reserve(&[reservation(2, "bob"), reservation(1, "eve")]).unwrap_err().code(),
        "store.duplicate_serial"
    );
    assert!(home.inventory.find(serial(2)).unwrap().is_empty(), "the whole reservation is refused");
    assert_eq!(home.issue(&[certificate(1, NOW)]).unwrap_err().code(), "store.not_reserved");
    assert_eq!(home.issue(&[certificate(9, NOW)]).unwrap_err().code(), "store.unknown_serial");
    home.reserve(&[reservation(4, "dora")]).unwrap();
    let issuer = home.issuer.clone();
    let renamed = home.begin().issue(&issuer, &[reservation(4, "eve")], &[certificate(4, NOW)]);
    assert_eq!(
        renamed.unwrap_err().code(),
        "store.not_reserved",
        "a number is for the identity that reserved it"
    );
    let stranger = KeyIdentifier(vec![1; 20]);
    let refused = home.begin().reserve(&stranger, &[reservation(3, "carol")]);
    assert_eq!(refused.unwrap_err().code(), "store.unknown_issuer");
}

#[test]
fn a_certificate_is_revoked_once_and_only_if_issued() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    home.reserve(&[reservation(2, "bob")]).unwrap();
    home.revoke(1, Superseded).unwrap();
    assert_eq!(home.one(1).status(NOW), RecordStatus::Revoked);
    match home.revoke(1, KeyCompromise).unwrap_err() {
        StoreError::AlreadyRevoked { serial_number, at, reason } => {
            assert_eq!((serial_number, at, reason), (serial(1), NOW, Superseded));
        }
        other => panic!("{other}"),
    }
    assert_eq!(home.revoke(2, KeyCompromise).unwrap_err().code(), "store.not_issued");
    assert_eq!(home.revoke(3, KeyCompromise).unwrap_err().code(), "store.unknown_serial");
}

#[test]
fn a_key_is_forgotten_once_and_only_if_it_was_kept() {
    let mut home = Home::new();
    home.reserve(&[reservation(2, "bob")]).unwrap();
    home.add(1, "alice", NOW);
    let issuer = home.issuer.clone();
    let forget = |home: &mut Home, number| {
        let details = serde_json::json!({});
        home.begin().forget_key(&issuer, serial(number), details).and_then(Transaction::commit)
    };
    forget(&mut home, 1).unwrap();
    let record = home.one(1);
    assert_eq!(record.reservation.key_path, None);
    let entry = home.entries().pop().unwrap();
    assert_eq!((record.key_forgotten, entry.event.action), (Some(entry.seq), Action::KeyForget));
    assert_eq!(forget(&mut home, 1).unwrap_err().code(), "store.no_key");
    assert_eq!(forget(&mut home, 2).unwrap_err().code(), "store.no_key", "reserved only");
    assert_eq!(forget(&mut home, 3).unwrap_err().code(), "store.unknown_serial");
    home.inventory.check_against_audit().unwrap();
}

#[test]
fn revoked_certificates_come_in_the_order_of_their_serial_numbers() {
    let mut home = Home::new();
    for (number, name) in [(9, "i"), (3, "c"), (200, "z")] {
        home.add(number, name, NOW);
        home.revoke(number, KeyCompromise).unwrap();
    }
    home.add(4, "d", NOW);
    let mut revoked = Vec::new();
    home.inventory
        .revoked(&home.issuer, NOW, |one| {
            revoked.push(one.serial_number);
            assert_eq!((one.revoked_at, one.reason, one.not_after), (NOW, KeyCompromise, NOW));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(revoked, [serial(3), serial(9), serial(200)]);
}

#[test]
fn a_crl_number_never_comes_again() {
    let mut home = Home::new();
    let issuer = home.issuer.clone();
    let reserve = |home: &mut Home| {
        let (transaction, number) = home.begin().reserve_crl_number(&issuer).unwrap();
        transaction.commit().unwrap();
        number
    };
    assert_eq!(
        (reserve(&mut home), reserve(&mut home)),
        (1, 2),
        "a CRL that was never made wastes its number"
    );
    let crl = |number| CurrentCrl {
        number,
        this_update: NOW,
        next_update: NOW + time::Duration::days(180),
        sha256: Sha256::of(b"crl"),
    };
    home.begin().record_crl(&issuer, &crl(2)).unwrap().commit().unwrap();
    assert_eq!(home.inventory.issuers().unwrap()[0].crl, Some(crl(2)));
    for number in [1, 2, 3] {
        let refused = home.begin().record_crl(&issuer, &crl(number));
        assert_eq!(refused.unwrap_err().code(), "store.crl_number", "{number}");
    }
    drop(home.begin().reserve_crl_number(&issuer).unwrap());
    assert_eq!(reserve(&mut home), 3, "a number that was never committed was never given");
}

#[test]
fn what_was_not_committed_never_happened() {
    let mut home = Home::new();
    let (issuer, path) = (home.issuer.clone(), home.path());
    drop(home.begin().reserve(&issuer, &[reservation(1, "alice")]).unwrap());
    drop(home.begin().record(
        Action::CertificateRecover,
        "x".into(),
        Outcome::Success,
        serde_json::Value::Null,
    ));
    drop(home.inventory);
    let inventory = Inventory::open_writer(&path, &provenance()).unwrap();
    assert!(inventory.find(serial(1)).unwrap().is_empty());
    assert_eq!(inventory.check_against_audit().unwrap().seq, 1);
}

#[test]
fn readers_see_the_last_commit_and_wait_for_nobody() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    let (issuer, path) = (home.issuer.clone(), home.path());
    let reader = Inventory::open_reader(&path).unwrap();
    let half_done = home.begin().reserve(&issuer, &[reservation(2, "bob")]).unwrap();
    assert!(reader.find(serial(2)).unwrap().is_empty());
    let late_reader = Inventory::open_reader(&path).unwrap();
    assert!(late_reader.find(serial(2)).unwrap().is_empty());
    late_reader.list(&Filter::default(), NOW, |_| Ok::<_, StoreError>(())).unwrap();
    half_done.commit().unwrap();
    assert_eq!(reader.find(serial(2)).unwrap().len(), 1);
    assert_eq!(late_reader.find(serial(2)).unwrap().len(), 1);
}

#[test]
fn a_commit_does_not_wait_for_a_listing() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    let reader = Inventory::open_reader(&home.path()).unwrap();
    let mut seen = 0;
    reader
        .list(&Filter::default(), NOW, |_| {
            seen += 1;
            home.add(2, "bob", NOW);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(seen, 1, "the listing is of the moment it began");
}

#[test]
fn writers_take_turns_on_one_chain() {
    let mut home = Home::new();
    let (issuer, path) = (home.issuer.clone(), home.path());
    let mut other = Inventory::open_writer(&path, &provenance()).unwrap();
    home.add(1, "alice", NOW);
    other.begin(&provenance()).unwrap().reserve(&issuer, &[reservation(2, "bob")]).unwrap().commit().unwrap();
    home.issue(&[certificate(2, NOW)]).unwrap();
    assert_eq!(other.check_against_audit().unwrap(), home.inventory.audit_head().unwrap());

    other.sql.busy_timeout(Duration::ZERO).unwrap();
    let first = home.begin();
    assert_eq!(other.begin(&provenance()).unwrap_err().code(), "store.busy");
    drop(first);
    assert!(other.begin(&provenance()).is_ok());
}

#[test]
fn fractions_of_a_second_are_not_kept() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    let issuer = home.issuer.clone();
    let provenance = Provenance { at: NOW + time::Duration::MILLISECOND * 999, ..provenance() };
    let revoked =
        home.inventory.begin(&provenance).unwrap().revoke(&issuer, serial(1), KeyCompromise).unwrap();
    revoked.commit().unwrap();
    assert_eq!(home.one(1).revocation.unwrap().at, NOW);
    assert_eq!(home.inventory.check_against_audit().unwrap().seq, 4);
}

#[test]
fn a_reader_changes_nothing() {
    let home = Home::new();
    let mut reader = Inventory::open_reader(&home.path()).unwrap();
    let reserved = reader.begin(&provenance()).unwrap().reserve(&home.issuer, &[reservation(1, "alice")]);
    assert_eq!(reserved.unwrap_err().code(), "store.read_only");
    assert_eq!(reader.mark_placed(1..=9).unwrap_err().code(), "store.read_only");
}

#[test]
fn a_directory_that_takes_no_files_can_still_be_read() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    let Home { directory, inventory, .. } = home;
    drop(inventory);
    // A link, which SQLite does not follow, keeps even root from making the index of the log.
    let path = directory.path().join("ca.db");
    std::os::unix::fs::symlink("/nonexistent/target", directory.path().join("ca.db-shm")).unwrap();
    let reader = Inventory::open_reader(&path).unwrap();
    assert_eq!(reader.find(serial(1)).unwrap().len(), 1);

    fs::write(directory.path().join("ca.db-wal"), b"commits that the database lacks").unwrap();
    assert_eq!(Inventory::open_reader(&path).unwrap_err().code(), "store.read_only");
}

#[test]
fn an_immutable_database_is_read_whatever_its_name() {
    let home = Home::new();
    let path = home.directory.path().join("a b?immutable=0#%41é.db");
    let other = Inventory::create(&path, &cluster(), &root(), &provenance()).unwrap();
    drop(other);
    let reader = Inventory::read_immutable(&resolve(&path).unwrap(), &path).unwrap();
    assert_eq!(reader.cluster().unwrap(), cluster());
    assert!(!path.with_file_name("a b?immutable=0#%41é.db-shm").exists());
}

#[test]
fn a_full_disk_is_named_and_changes_nothing() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    let pages: i64 = home.inventory.sql.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    home.inventory.sql.pragma_update(None, "max_page_count", pages).unwrap();
    let many: Vec<_> = (2..=255).map(|number| reservation(number, &"x".repeat(50))).collect();
    assert_eq!(home.reserve(&many).unwrap_err().code(), "store.disk_full");
    assert_eq!(home.inventory.counts(NOW).unwrap(), RecordCounts { valid: 1, ..RecordCounts::default() });
    assert_eq!(home.inventory.check_against_audit().unwrap().seq, 3);
}

/// Four users: one of each status, in the order of their serial numbers.
fn one_of_each() -> Home {
    let mut home = Home::new();
    home.add(1, "dora", NOW - time::Duration::HOUR);
    home.add(2, "alice", NOW);
    home.add(3, "alba", NOW + time::Duration::HOUR);
    home.revoke(3, Unspecified).unwrap();
    home.reserve(&[reservation(4, "carl")]).unwrap();
    home
}

#[test]
fn the_list_is_filtered_by_role_name_status_and_expiry() {
    let home = one_of_each();
    let all = Filter::default;
    let named = |pattern: &str| Filter { name: Some(pattern.to_owned()), ..all() };
    let status = |status| Filter { status: Some(status), ..all() };
    assert_eq!(home.names(&all()), ["dora", "alice", "alba", "carl"]);
    assert_eq!(home.names(&named("al*")), ["alba", "alice"]);
    assert_eq!(home.names(&named("alice")), ["alice"]);
    assert_eq!(home.names(&named("al")), [""; 0], "the whole name must match");
    assert_eq!(home.names(&named("AL*")), [""; 0], "case matters");
    assert_eq!(home.names(&named("*a")), ["dora", "alba"]);
    assert_eq!(home.names(&named("[a-c]*")), ["alice", "alba", "carl"]);
    for (status_asked, name) in [
        (RecordStatus::Expired, "dora"),
        (RecordStatus::Valid, "alice"),
        (RecordStatus::Revoked, "alba"),
        (RecordStatus::Reserved, "carl"),
    ] {
        assert_eq!(home.names(&status(status_asked)), [name], "{status_asked}");
    }
    let soon = NOW + time::Duration::days(1);
    assert_eq!(home.names(&Filter { expires_before: Some(soon), ..all() }), ["dora", "alice"]);
    let valid_but_not_for_long = Filter { expires_before: Some(soon), ..status(RecordStatus::Valid) };
    assert_eq!(home.names(&valid_but_not_for_long), ["alice"]);
    assert_eq!(home.names(&Filter { role: Some(Role::NodeAgent), ..all() }), [""; 0]);
    assert_eq!(home.names(&Filter { role: Some(Role::ApiUser), ..named("a*e") }), ["alice"]);
    assert_eq!(
        home.inventory.counts(NOW).unwrap(),
        RecordCounts { reserved: 1, valid: 1, expired: 1, revoked: 1 }
    );
}

#[test]
fn every_filter_has_a_plan() {
    let home = one_of_each();
    let statuses = || RecordStatus::ALL.into_iter().map(Some).chain([None]);
    for name in [None, Some("al*"), Some("*")] {
        for status in statuses() {
            for expires_before in [None, Some(NOW)] {
                for role in [None, Some(Role::ApiUser)] {
                    home.names(&Filter {
                        role,
                        name: name.map(str::to_owned),
                        status,
                        expires_before,
                        ..Filter::default()
                    });
                }
            }
        }
    }
}

#[test]
fn generations_of_an_identity_come_newest_first() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    home.add(2, "bob", NOW);
    home.add(3, "alice", NOW);
    let generations = home.inventory.find_identity(Role::ApiUser, &Name::of_user("alice").unwrap()).unwrap();
    let serials: Vec<_> = generations.iter().map(|record| record.reservation.serial_number).collect();
    assert_eq!(serials, [serial(3), serial(1)]);
}

#[test]
fn the_callers_error_ends_a_listing() {
    let home = one_of_each();
    let mut seen = 0;
    let ended = home.inventory.list(&Filter::default(), NOW, |record| {
        seen += 1;
        Err(StoreError::UnknownSerial { serial_number: record.reservation.serial_number })
    });
    assert_eq!((ended.unwrap_err().code(), seen), ("store.unknown_serial", 1));
}

#[test]
fn a_row_changed_outside_is_noticed() {
    for change in [
        "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL, revocation_entry = NULL WHERE serial = x'0000000000000000000000000000000000000003'",
        "UPDATE certificate SET revoked_at = revoked_at + 1 WHERE revoked_at IS NOT NULL",
        "UPDATE certificate SET revocation_reason = 4 WHERE revoked_at IS NOT NULL",
        "UPDATE certificate SET not_after = not_after + 1 WHERE name = 'alice'",
        "UPDATE certificate SET name = 'mallory' WHERE name = 'alice'",
        "UPDATE certificate SET role = 'node-agent', name = '9d3aef3d-7a55-4b8f-a6a1-2d3fb2b1f9b2' WHERE name = 'alice'",
        "UPDATE certificate SET fingerprint = zeroblob(32) WHERE name = 'alice'",
        "UPDATE certificate SET public_key = zeroblob(32) WHERE name = 'alice'",
        "UPDATE certificate SET issue_entry = 3 WHERE name = 'alice'",
        "UPDATE certificate SET issue_entry = 99 WHERE name = 'alice'",
        "UPDATE certificate SET serial = x'0000000000000000000000000000000000000063' WHERE name = 'alice'",
        "DELETE FROM certificate WHERE name = 'alice'",
        "UPDATE certificate SET revoked_at = 1, revocation_reason = 0, revocation_entry = 2 WHERE name = 'alice'",
        "UPDATE certificate SET not_before = 1, not_after = 2, fingerprint = zeroblob(32), public_key = zeroblob(32), issue_entry = 3 WHERE name = 'carl'",
        "UPDATE cluster SET trust_domain = 'evil'",
        "UPDATE cluster SET uuid = x'9d3aef3d7a554b8fa6a12d3fb2b1f9b2'",
        "UPDATE cluster SET name = 'evil'",
        "INSERT INTO issuer (id, key_id, certificate, state) VALUES (2, x'01', x'', 'active'); UPDATE certificate SET issuer = 2 WHERE name = 'alice'",
    ] {
        let home = one_of_each();
        home.inventory.check_against_audit().unwrap();
        home.tamper(change);
        let code = home.inventory.check_against_audit().unwrap_err().code();
        assert_eq!(code, "store.inconsistent", "{change}");
    }
}

#[test]
fn a_crl_counter_that_was_turned_outside_is_noticed() {
    for change in [
        "next_crl_number = 2, crl_number = 1",
        "crl_number = 1",
        "crl_next_update = crl_next_update + 86400",
        "crl_sha256 = zeroblob(32)",
        "crl_number = NULL, crl_this_update = NULL, crl_next_update = NULL, crl_sha256 = NULL",
        "next_crl_number = 3",
    ] {
        let mut home = Home::new();
        let issuer = home.issuer.clone();
        for _ in 0..3 {
            home.begin().reserve_crl_number(&issuer).unwrap().0.commit().unwrap();
        }
        let crl = CurrentCrl {
            number: 2,
            this_update: NOW,
            next_update: NOW + time::Duration::days(180),
            sha256: Sha256::of(b"crl"),
        };
        home.begin().record_crl(&issuer, &crl).unwrap().commit().unwrap();
        home.inventory.check_against_audit().unwrap();
        home.begin().skip_crl_numbers(&issuer, 41).unwrap().commit().unwrap();
        home.inventory.check_against_audit().unwrap();
        home.tamper(&format!("UPDATE issuer SET {change}"));
        let code = home.inventory.check_against_audit().unwrap_err().code();
        assert_eq!(code, "store.inconsistent", "{change}");
    }
    let home = one_of_each();
    home.tamper(
        "UPDATE issuer SET next_crl_number = 9, crl_number = 8, crl_this_update = 1, crl_next_update = 2, \
         crl_sha256 = zeroblob(32)",
    );
    assert_eq!(home.inventory.check_against_audit().unwrap_err().code(), "store.inconsistent");
}

#[test]
fn an_impossible_row_is_an_error_and_no_panic() {
    for (change, column) in [
        ("name = 'No Name'", "name"),
        ("role = 'king'", "role"),
        ("serial = x'01'", ""),
        ("serial = zeroblob(20)", ""),
        ("fingerprint = x'00'", "fingerprint"),
        ("not_after = 9223372036854775807", "not_after"),
        ("issue_entry = -1", "issue_entry"),
        ("revoked_at = 1, revocation_reason = 256, revocation_entry = 1", "revocation_reason"),
        ("revoked_at = 1, revocation_reason = NULL", "revocation_reason"),
        ("issuer = 5", "key_id"),
    ] {
        let mut home = Home::new();
        home.add(1, "alice", NOW);
        home.tamper(&format!("UPDATE certificate SET {change}"));
        let error = home.inventory.list(&Filter::default(), NOW, |_| Ok::<_, StoreError>(())).unwrap_err();
        assert_eq!(error.code(), "store.corrupt", "{change}");
        assert!(error.to_string().contains(column), "{error}");
    }
}

#[test]
fn a_certificate_that_is_not_the_recorded_one_is_refused() {
    let home = one_of_each();
    home.tamper("UPDATE certificate_der SET der = (SELECT certificate FROM issuer)");
    let refused = home.inventory.certificate(&home.issuer, serial(1));
    assert_eq!(refused.unwrap_err().code(), "store.corrupt");
}

#[test]
fn an_audit_entry_changed_outside_is_noticed() {
    for (change, code) in [
        ("UPDATE audit SET actor = 'mallory' WHERE seq = 3", "audit.broken"),
        ("UPDATE audit SET at = at + 1 WHERE seq = 3", "audit.broken"),
        ("UPDATE audit SET reason = NULL WHERE seq = 3", "audit.broken"),
        ("UPDATE audit SET details = '{}' WHERE seq = 3", "audit.broken"),
        ("UPDATE audit SET details = details || ' ' WHERE seq = 3", "store.corrupt"),
        ("UPDATE audit SET action = 'certificate.eat' WHERE seq = 3", "store.corrupt"),
        ("DELETE FROM audit WHERE seq = 3", "audit.broken"),
        ("DELETE FROM audit WHERE seq = 1", "audit.broken"),
        ("UPDATE audit SET seq = 99 WHERE seq = 3", "audit.broken"),
        ("UPDATE audit SET seq = 0 WHERE seq = 1", "audit.broken"),
        ("DELETE FROM audit WHERE seq >= 7", "store.inconsistent"),
    ] {
        let home = one_of_each();
        home.tamper(change);
        assert_eq!(home.inventory.check_against_audit().unwrap_err().code(), code, "{change}");
    }
}

#[test]
fn a_hold_can_be_released_or_become_a_revocation() {
    let mut home = Home::new();
    let issuer = home.issuer.clone();
    let release = |home: &mut Home| {
        let released = home.begin().release(&issuer, serial(1));
        released.and_then(Transaction::commit).map(drop)
    };
    home.add(1, "alice", NOW + time::Duration::HOUR);
    assert_eq!(release(&mut home).unwrap_err().code(), "store.not_on_hold");
    home.revoke(1, CertificateHold).unwrap();
    assert!(home.one(1).is_on_hold());
    assert_eq!(home.revoke(1, CertificateHold).unwrap_err().code(), "store.already_revoked");
    release(&mut home).unwrap();
    assert_eq!((home.one(1).revocation, home.one(1).release_entry), (None, Some(5)));
    assert_eq!(home.inventory.count_revoked(&home.issuer).unwrap(), 0);
    home.revoke(1, CertificateHold).unwrap();
    home.revoke(1, KeyCompromise).unwrap();
    assert_eq!(home.one(1).revocation.unwrap().reason, KeyCompromise);
    assert_eq!(release(&mut home).unwrap_err().code(), "store.not_on_hold");
    let actions: Vec<_> = home.entries().iter().skip(3).map(|entry| entry.event.action).collect();
    assert_eq!(
        actions,
        [
            Action::CertificateHold,
            Action::CertificateRelease,
            Action::CertificateHold,
            Action::CertificateRevoke
        ]
    );
    home.inventory.check_against_audit().unwrap();
}

#[test]
fn a_hold_or_revocation_that_was_undone_outside_is_noticed() {
    for change in [
        "revoked_at = NULL, revocation_reason = NULL, revocation_entry = NULL",
        // As if released by an entry that tells of something else, an earlier or a later one.
        "revoked_at = NULL, revocation_reason = NULL, revocation_entry = 3",
        "revoked_at = NULL, revocation_reason = NULL, revocation_entry = 7",
        "revoked_at = NULL, revocation_reason = NULL",
        "revocation_reason = 6",
        "revocation_entry = 7",
    ] {
        let mut home = Home::new();
        home.add(1, "alice", NOW);
        home.revoke(1, KeyCompromise).unwrap();
        home.add(2, "bob", NOW);
        home.revoke(2, KeyCompromise).unwrap();
        home.inventory.check_against_audit().unwrap();
        home.tamper(&format!("UPDATE certificate SET {change} WHERE serial = x'{}01'", "00".repeat(19)));
        assert_eq!(
            home.inventory.check_against_audit().unwrap_err().code(),
            "store.inconsistent",
            "{change}"
        );
    }
}

#[test]
fn what_takes_a_place_stands_in_one_line() {
    let mut home = Home::new();
    let renewed = |home: &Home, number, old| {
        let supersedes = Some(home.one(old).id());
        Reservation { supersedes, ..reservation(number, "alice") }
    };
    home.add(1, "alice", NOW);
    home.reserve(&[renewed(&home, 2, 1)]).unwrap();
    assert_eq!(home.one(1).superseded_by, None, "a reservation takes no place");
    home.issue(&[certificate(2, NOW)]).unwrap();
    home.reserve(&[renewed(&home, 3, 2)]).unwrap();
    home.issue(&[certificate(3, NOW)]).unwrap();
    assert_eq!(home.one(2).reservation.supersedes, Some(home.one(1).id()));
    assert_eq!(home.one(2).superseded_by, Some(home.one(3).id()));
    for number in 1..=3 {
        let line = home.inventory.lineage(&home.one(number).id()).unwrap();
        let numbers: Vec<_> = line.iter().map(|record| record.reservation.serial_number).collect();
        assert_eq!(numbers, [serial(1), serial(2), serial(3)]);
    }
    let newest = Filter { newest: true, ..Filter::default() };
    assert_eq!(home.names(&newest).len(), 1);
    home.inventory.check_against_audit().unwrap();

    let twice = home.reserve(&[renewed(&home, 4, 1)]).unwrap_err();
    assert_eq!(twice.code(), "store.not_supersedable");
    home.revoke(3, KeyCompromise).unwrap();
    assert_eq!(home.reserve(&[renewed(&home, 4, 3)]).unwrap_err().code(), "store.not_supersedable");
    home.tamper("UPDATE certificate SET supersedes = NULL WHERE supersedes = 1");
    assert_eq!(home.inventory.check_against_audit().unwrap_err().code(), "store.inconsistent");
}

#[test]
fn a_key_finds_all_that_was_issued_for_it() {
    let mut home = Home::new();
    home.add(1, "alice", NOW);
    home.add(2, "bob", NOW);
    let key = home.one(2).issue.unwrap().public_key;
    let found = home.inventory.find_public_key(&key).unwrap();
    assert_eq!(found, [home.one(2)]);
    assert!(home.inventory.find_public_key(&Sha256::of(b"another")).unwrap().is_empty());
}

#[test]
fn what_expired_leaves_the_list_once_it_was_told() {
    let mut home = Home::new();
    let hour = time::Duration::HOUR;
    for (number, name, not_after) in [(1, "past", NOW - hour), (2, "now", NOW), (3, "future", NOW + hour)] {
        home.add(number, name, not_after);
        home.revoke(number, KeyCompromise).unwrap();
    }
    let listed = |told_until| {
        let mut numbers = Vec::new();
        home.inventory
            .revoked(&home.issuer, told_until, |one| {
                numbers.push(one.serial_number);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        numbers
    };
    assert_eq!(listed(NOW), [serial(1), serial(2), serial(3)], "revoked at NOW: no list told of it yet");
    assert_eq!(listed(NOW + time::Duration::SECOND), [serial(3)]);
    assert_eq!(listed(NOW + hour), [serial(3)]);
    assert_eq!(listed(NOW + 2 * hour), []);
}
