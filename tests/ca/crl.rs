//! The revocation list: what is in it, when it is made anew, and that others read it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cluster_ca::ca::{self, Authority, Context, NewCluster};
use cluster_ca::clock::{Clock, ManualClock, SystemClock, SystemEntropy};
use cluster_ca::error::Coded;
use cluster_ca::profile::ProfileSet;
use cluster_ca::revocation::RevocationReason;
use time::{Duration, OffsetDateTime};

use crate::home::{Finished, Home};

/// What Python's `cryptography` says of a list: its number, then each entry.
const READ_WITH_PYTHON: &str = "
import sys
from cryptography import x509
crl = x509.load_pem_x509_crl(open(sys.argv[1], 'rb').read())
root = x509.load_pem_x509_certificate(open(sys.argv[2], 'rb').read())
assert crl.is_signature_valid(root.public_key())
print(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
for entry in crl:
    reasons = [e.value.reason.value for e in entry.extensions]
    print(f'{entry.serial_number:032x}', *reasons)
";

fn run(command: &mut Command) -> Finished {
    Finished::from(command.output().expect("it starts"))
}

#[test]
fn openssl_and_python_read_every_entry_with_its_reason() {
    let home = Home::initialized();
    let mut expected = Vec::new();
    for (name, reason, word) in [
        ("alice", "key-compromise", " keyCompromise"),
        ("bob", "superseded", " superseded"),
        ("carol", "unspecified", ""),
    ] {
        home.ok(&["create-api-user", name]);
        let revoked = home.ok(&["revoke", &format!("api-user/{name}"), "--reason", reason]);
        expected.push(format!("{}{word}", revoked["serial_number"].as_str().expect("text")));
    }
    home.ok(&["create-api-user", "dave"]);
    let held = home.ok(&["hold", "api-user/dave"]);
    expected.push(format!("{} certificateHold", held["serial_number"].as_str().expect("text")));
    expected.sort();

    let [crl, root] = ["cluster.crl", "cluster.crt"].map(|name| home.path(name));
    let verified = run(Command::new("openssl")
        .args(["crl", "-noout", "-verify", "-crlnumber", "-in"])
        .arg(&crl)
        .arg("-CAfile")
        .arg(&root));
    assert_eq!(verified.exit, Some(0), "{verified:?}");
    assert!(
        verified.stdout.contains("crlNumber=0x0") || verified.stdout.contains("crlNumber=0"),
        "{verified:?}"
    );

    let tools = run(&mut Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/python-tools")));
    assert_eq!(tools.exit, Some(0), "{tools:?}");
    let read = run(Command::new(tools.stdout.trim()).args(["-c", READ_WITH_PYTHON]).arg(&crl).arg(&root));
    assert_eq!(read.exit, Some(0), "{read:?}");
    let mut lines: Vec<&str> = read.stdout.lines().collect();
    assert_eq!(lines.remove(0), held["crl_number"].as_str().expect("text"));
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn it_is_there_as_der_too() {
    let home = Home::initialized();
    let (first, second) = (home.path("first.der"), home.path("second.der"));
    home.ok(&["crl", "show", "--der", first.to_str().expect("text")]);
    home.ok(&["crl", "publish", "--der", second.to_str().expect("text")]);
    assert_ne!(fs::read(&first).expect("DER"), fs::read(&second).expect("DER"));
    home.ok(&["crl", "verify", second.to_str().expect("text")]);
    let older = home.refused(&["crl", "verify", first.to_str().expect("text")]);
    assert_eq!(older.code, "ca.crl_not_recorded");
    let read = run(Command::new("openssl").args(["crl", "-inform", "DER", "-noout", "-in"]).arg(&second));
    assert_eq!(read.exit, Some(0), "{read:?}");
}

#[test]
fn how_long_it_holds_is_said_once_and_kept() {
    let home = Home::initialized();
    let lasts = |result: &serde_json::Value| {
        let time = |field: &str| {
            cluster_ca::clock::parse_time(result[field].as_str().expect("text")).expect("a time")
        };
        time("next_update") - time("this_update")
    };
    assert_eq!(lasts(&home.ok(&["crl", "show"])), Duration::days(180));
    assert_eq!(lasts(&home.ok(&["crl", "publish", "--next-update", "7d"])), Duration::days(7));
    home.ok(&["create-api-user", "alice"]);
    assert_eq!(lasts(&home.ok(&["revoke", "api-user/alice"])), Duration::days(7));
}

#[test]
fn no_list_ends_before_anybody_can_fetch_it_or_after_its_root() {
    let home = Home::empty();
    home.ok(&["initialize", "prod", "--validity", "370d"]);
    let before = home.state();
    for length in ["1s", "59m59s", "371d", "7900y", "9999y"] {
        let refused = home.refused(&["crl", "publish", "--next-update", length]);
        assert_eq!((refused.exit, refused.code.as_str()), (2, "input.crl_validity"), "{length}: {refused:?}");
        assert!(home.state() == before, "{length}: a number was set aside");
    }
    home.ok(&["crl", "publish", "--next-update", "1h"]);
    home.ok(&["crl", "publish", "--next-update", "369d"]);
}

#[test]
fn a_list_that_holds_as_long_as_the_last_is_cut_off_where_its_root_ends() {
    let later = Later::new();
    let day = Duration::days(3_600);
    let mut authority = later.open(day);
    let published = authority.publish_crl(None, None).expect("a list");
    let bundle = authority.cluster().trust_bundle(later.start + day).expect("a bundle");
    assert_eq!(published.next_update, bundle.anchors()[0].certificate.not_after);
}

#[test]
fn a_list_that_is_not_this_roots_newest_and_whole_is_not_verified() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let old = fs::read(home.path("cluster.crl")).expect("a list");
    home.ok(&["revoke", "api-user/alice"]);
    home.ok(&["crl", "verify"]);
    home.write("cluster.crl", old);
    assert_eq!(home.refused(&["crl", "verify"]).code, "ca.crl_not_recorded");
    let other = Home::initialized();
    fs::copy(other.path("cluster.crl"), home.path("cluster.crl")).expect("a copy");
    assert_eq!(home.refused(&["crl", "verify"]).code, "crl.unknown_issuer");
    home.ok(&["crl", "publish"]);
    assert_eq!(home.refused(&["crl", "verify", "--at", "2099-01-01"]).exit, 1);
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    let told = home.run(&["create-api-user", "bob"]);
    assert!(told.stderr.contains("the CRL was missing"), "{told:?}");
    home.ok(&["crl", "verify"]);
}

#[test]
fn what_cannot_be_written_is_recorded_said_and_made_up_for() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    // A directory in its place is what no user, root included, can rename a file over.
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    fs::create_dir(home.path("cluster.crl")).expect("a directory");
    fs::write(home.path("cluster.crl/x"), "").expect("a file in it");
    let refused = home.refused(&["revoke", "api-user/alice"]);
    assert_eq!((refused.code.as_str(), refused.exit), ("ca.crl_not_written", 3));
    assert_eq!(home.ok(&["list"])[0]["status"], "revoked");
    fs::remove_dir_all(home.path("cluster.crl")).expect("removed");
    let next = home.run(&["--json", "revoke", "api-user/alice"]);
    assert_eq!(next.result()["already"], true);
    assert!(next.stderr.contains("did not publish its CRL"), "{next:?}");
    home.ok(&["crl", "verify"]);
    home.ok(&["audit", "verify"]);
}

/// The library in a home of its own, at a time of the test's choice.
struct Later {
    directory: tempfile::TempDir,
    start: OffsetDateTime,
}

impl Later {
    fn new() -> Self {
        let private = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir().expect("a directory");
        let later = Self { directory, start: SystemClock.now() };
        let wanted = NewCluster {
            name: "prod".parse().expect("a name"),
            trust_domain: None,
            key_algorithm: None,
            validity: None,
            passphrase: None,
            signer: None,
        };
        let profiles = ProfileSet::built_in().expect("profiles");
        ca::initialize(&later.home(), &wanted, &profiles, &later.context(Duration::ZERO)).expect("a cluster");
        later
    }

    fn home(&self) -> ca::Home {
        ca::Home::new(self.directory.path())
    }

    fn context(&self, after: Duration) -> Context {
        Context {
            clock: Arc::new(ManualClock::new(self.start + after)),
            entropy: Arc::new(SystemEntropy),
            actor: "test".parse().expect("an actor"),
            unlock: Arc::new(cluster_ca::keys::NoUnlock),
        }
    }

    fn open(&self, after: Duration) -> Authority {
        Authority::open(&self.home(), &self.context(after)).expect("an open home")
    }

    /// A user whose certificate would hold so long, and is revoked at once.
    fn revoked_user(&self, validity: Duration) {
        let profiles = ProfileSet::built_in().expect("profiles");
        let order = ca::IssueRequest {
            label: None,
            role: cluster_ca::identity::Role::ApiUser,
            name: cluster_ca::identity::Name::of_user("alice").expect("a name"),
            hosts: Vec::new(),
            key: ca::SubjectKey::Generate(None),
            validity: Some(validity),
        };
        let output = self.directory.path().join("issued");
        let mut authority = self.open(Duration::ZERO);
        authority.issue(&profiles, &[order], &output, None, &|_| {}).expect("a certificate");
        let target = "api-user/alice".parse().expect("a target");
        let record = authority.cluster().find_to_revoke(&target).expect("a record");
        authority.revoke(&[record], RevocationReason::KeyCompromise, None).expect("a revocation");
    }

    /// Makes a list on that day; how many entries it has.
    fn publish(&self, day: i64) -> usize {
        self.open(Duration::days(day)).publish_crl(None, None).expect("a list");
        self.entries(Duration::days(day))
    }

    fn entries(&self, after: Duration) -> usize {
        let authority = self.open(after);
        let path: &Path = &self.directory.path().join("cluster.crl");
        authority.cluster().read_crl(path, self.start + after).expect("a list").0.len()
    }
}

#[test]
fn a_list_past_half_of_its_life_is_made_anew_by_whatever_opens_the_key() {
    let later = Later::new();
    assert!(later.open(Duration::days(89)).recovered().is_empty());
    let told: Vec<String> =
        later.open(Duration::days(91)).recovered().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["the CRL was past half of its validity; published CRL 2"]);
    assert!(later.open(Duration::days(91)).recovered().is_empty());
}

#[test]
fn a_publication_signs_one_list_even_if_one_was_due() {
    let home = Home::initialized();
    assert_eq!(home.ok(&["crl", "publish"])["crl_number"], "2");
    // Opening the home makes up for the missing file.
    fs::remove_file(home.path("cluster.crl")).expect("a list");
    let finished = home.run(&["--json", "crl", "publish"]);
    assert_eq!(finished.result()["crl_number"], "3", "{finished:?}");
    home.ok(&["crl", "verify"]);
    // A validity that was asked for is that of a list of its own.
    fs::remove_file(home.path("cluster.crl")).expect("a list");
    assert_eq!(home.ok(&["crl", "publish", "--next-update", "90d"])["crl_number"], "5");
}

#[test]
fn what_expired_is_on_one_list_made_after_that_and_on_none_later() {
    let later = Later::new();
    later.revoked_user(Duration::days(10));
    assert_eq!(later.publish(5), 1);
    assert_eq!(later.publish(11), 1, "the first list made after its end");
    assert_eq!(later.publish(12), 0);
}

#[test]
fn a_clock_that_ran_ahead_never_empties_the_list() {
    let later = Later::new();
    later.revoked_user(Duration::days(10));
    for ahead in [400, 400, 500] {
        later.publish(ahead);
    }
    // The list is dated in the future, which no gateway takes: the first command that opens the key makes it anew.
    let told: Vec<String> =
        later.open(Duration::days(1)).recovered().iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("dated in the future")), "{told:?}");
    assert_eq!(later.entries(Duration::days(1)), 1, "what had not expired is on the list again");
    assert_eq!(later.publish(2), 1);
    let file = later.directory.path().join("cluster.crl");
    let authority = later.open(Duration::days(2));
    authority.cluster().verify_crl(&file, later.start + Duration::days(2)).expect("complete");
}

#[test]
fn a_list_is_dated_back_as_certificates_are() {
    let later = Later::new();
    let path = later.directory.path().join("cluster.crl");
    let check = |after: Duration| {
        let (crl, _) = later.open(after).cluster().read_crl(&path, later.start + after).expect("a list");
        let dated = later.start + after - Duration::minutes(5);
        assert_eq!(crl.this_update, dated.replace_nanosecond(0).expect("a whole second"));
        assert_eq!(crl.next_update - crl.this_update, Duration::days(180));
    };
    check(Duration::ZERO);
    later.publish(1);
    check(Duration::DAY);
}

#[test]
fn a_clock_that_is_behind_is_not_called_an_expired_root() {
    let later = Later::new();
    let refused = |after: Duration| {
        let error = later.open(after).publish_crl(None, None).expect_err("no list");
        (error.code(), error.to_string())
    };
    let (code, words) = refused(-Duration::days(2));
    assert_eq!(code, "home.clock_behind");
    assert!(words.contains("the clock of this machine shows") && !words.contains("expired"), "{words}");
    let (code, words) = refused(Duration::days(9_000));
    assert_eq!(code, "home.root_expired");
    assert!(words.starts_with("the root expired at"), "{words}");
}
