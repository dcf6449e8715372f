//! Complete set of profiles, built in or from a directory.

use std::io;
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::built_in::{ROOT, built_in, file_name};
use super::leaf::LeafProfile;
use super::origin::{ProfileOrigin, ProfileSource};
use super::root::RootProfile;
use super::validate;
use crate::clock;
use crate::error::{Code, Coded};
use crate::files::{self, FileError};
use crate::identity::{PerRole, Role};
use crate::x509::Sha256;
use crate::yaml::{self, Document, YamlProblem};

/// Profiles of the root and of every role.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileSet {
    root: RootProfile,
    leaves: PerRole<LeafProfile>,
}

impl ProfileSet {
    /// The built-in profiles.
    ///
    /// # Errors
    /// [`ProfileError::Rules`], which a test excludes.
    pub fn built_in() -> Result<Self, ProfileError> {
        Self::read(Vec::new(), |name| {
            let label = format!("built-in {name}");
            let (_, text) = built_in()
                .find(|(file, _)| file == name)
                .ok_or_else(|| YamlProblem::new(&label, None, MISSING))?;
            File::read(&label, ProfileSource::BuiltIn, text.as_bytes())
        })
    }

    /// Load the profiles in `directory`, which must hold one file for each and nothing else.
    ///
    /// # Errors
    /// [`ProfileError::Directory`] if it cannot be listed, [`ProfileError::File`] if any user could change it,
    /// [`ProfileError::Rules`] with all problems of its files.
    pub fn load(directory: &Path) -> Result<Self, ProfileError> {
        let unknown = unknown_files(directory)
            .map_err(|source| ProfileError::Directory { path: directory.to_owned(), source })?;
        files::check_protected_directory(directory).map_err(ProfileError::File)?;
        for (name, _) in built_in() {
            match files::check_write_protected(&directory.join(name)) {
                // Reported with the other problems of the set.
                Err(FileError::Io { .. } | FileError::NotAFile { .. }) | Ok(()) => {}
                Err(error) => return Err(ProfileError::File(error)),
            }
        }
        Self::read(unknown, |name| {
            let path = directory.join(name);
            let label = path.to_string_lossy();
            let bytes = files::read(&path, yaml::LIMIT).map_err(|error| match error {
                FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    YamlProblem::new(&label, None, MISSING)
                }
                FileError::Io { source, .. } => YamlProblem::new(&label, None, &source.to_string()),
                other => YamlProblem::new(&label, None, &other.to_string()),
            })?;
            File::read(&label, ProfileSource::File(path.clone()), &bytes)
        })
    }

    /// Open and validate every profile; a single problem fails the set.
    fn read(
        mut problems: Vec<YamlProblem>,
        open: impl Fn(&str) -> Result<File, YamlProblem>,
    ) -> Result<Self, ProfileError> {
        let root = open(&file_name(ROOT))
            .map_err(|problem| vec![problem])
            .and_then(|file| validate::root(&file.document, file.origin))
            .map_err(|found| problems.extend(found))
            .ok();
        let leaves = PerRole::from_fn(|role| {
            let file = open(&file_name(role.as_str())).map_err(|problem| problems.push(problem)).ok()?;
            let profile = validate::leaf(&file.document, role, file.origin)
                .map_err(|found| problems.extend(found))
                .ok()?;
            if let Some(root) = &root
                && profile.validity.maximum > root.validity.maximum
            {
                problems.push(file.document.at("validity").at("maximum").problem(format_args!(
                    "{} exceeds that of the root, {}: a certificate must not outlive its issuer",
                    clock::format_duration(profile.validity.maximum),
                    clock::format_duration(root.validity.maximum),
                )));
            }
            Some(profile)
        });
        match (root, leaves.transpose()) {
            (Some(root), Some(leaves)) if problems.is_empty() => Ok(Self { root, leaves }),
            _ => Err(ProfileError::Rules { problems }),
        }
    }

    /// Profile of the root.
    #[must_use]
    pub fn root(&self) -> &RootProfile {
        &self.root
    }

    /// Profile of a role.
    #[must_use]
    pub fn leaf(&self, role: Role) -> &LeafProfile {
        self.leaves.get(role)
    }

    /// Profiles of all roles, in the order of [`Role::ALL`].
    pub fn leaves(&self) -> impl Iterator<Item = &LeafProfile> {
        self.leaves.iter().map(|(_, profile)| profile)
    }
}

/// Parsed file of a profile, not yet validated.
struct File {
    document: Document,
    origin: ProfileOrigin,
}

impl File {
    fn read(label: &str, source: ProfileSource, bytes: &[u8]) -> Result<Self, YamlProblem> {
        let document = Document::parse(label, bytes)?;
        Ok(Self { document, origin: ProfileOrigin { source, digest: Sha256::of(bytes) } })
    }
}

const MISSING: &str = "missing: the root and every role need a profile";

impl Serialize for ProfileSet {
    /// A map of the profiles by role, in snake case, the root's first.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(ROOT, &self.root)?;
        for (role, profile) in self.leaves.iter() {
            map.serialize_entry(&role.as_str().replace('-', "_"), profile)?;
        }
        map.end()
    }
}

/// Report every file in `directory` that is not a profile, because it would have no effect.
fn unknown_files(directory: &Path) -> io::Result<Vec<YamlProblem>> {
    let mut problems = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if !built_in().any(|(name, _)| entry.file_name() == *name) {
            let label = entry.path().to_string_lossy().into_owned();
            problems.push(YamlProblem::new(
                &label,
                None,
                "not the profile of a role: it would have no effect",
            ));
        }
    }
    problems.sort();
    Ok(problems)
}

/// Failure to load profiles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Unreadable directory.
    #[error("cannot read the profiles in {}", path.display())]
    Directory {
        /// Directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Directory or file that any user could write or replace: profiles decide what is issued.
    #[error(transparent)]
    File(FileError),
    /// Invalid or missing profiles.
    #[error("the profiles have {} {}{}", problems.len(), plural(problems), lines(problems))]
    Rules {
        /// All problems, with file and line.
        problems: Vec<YamlProblem>,
    },
}

fn plural(problems: &[YamlProblem]) -> &'static str {
    if problems.len() == 1 { "problem" } else { "problems" }
}

fn lines(problems: &[YamlProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl Coded for ProfileError {
    fn coded(&self) -> Code {
        match self {
            Self::Directory { .. } => Code::environment("profile.directory"),
            Self::File(error) => error.coded(),
            Self::Rules { .. } => Code::refused("profile.rules"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Write the built-in profiles with `edits` (file, text, replacement).
    fn directory(edits: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in built_in() {
            let mut text = text.to_owned();
            for (_, what, by) in edits.iter().filter(|(file, ..)| *file == name) {
                assert!(text.contains(what), "{name} has {what}");
                text = text.replacen(what, by, 1);
            }
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    /// Problems of a directory, without its path.
    fn problems(directory: &Path) -> Vec<String> {
        let Err(ProfileError::Rules { problems }) = ProfileSet::load(directory) else {
            panic!("expected broken rules");
        };
        let prefix = format!("{}/", directory.display());
        problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }

    #[test]
    fn the_built_in_profiles_are_valid() {
        let profiles = ProfileSet::built_in().unwrap();
        assert_eq!(profiles.root().origin().source, ProfileSource::BuiltIn);
        for (profile, (_, text)) in profiles.leaves().zip(built_in().skip(1)) {
            assert_eq!(profile.origin().digest, Sha256::of(text.as_bytes()));
            assert_eq!(profile.key().algorithms(), crate::x509::KeyAlgorithm::ALL);
        }
    }

    #[test]
    fn profiles_in_a_directory_replace_the_built_in_ones() {
        let directory = directory(&[("api-user.yaml", "default: 90d", "default: 12h")]);
        let profiles = ProfileSet::load(directory.path()).unwrap();
        let user = profiles.leaf(Role::ApiUser);
        assert_eq!(user.validity().default_validity(), time::Duration::hours(12));
        assert_eq!(user.origin().source, ProfileSource::File(directory.path().join("api-user.yaml")));
        assert_ne!(user.origin().digest, ProfileSet::built_in().unwrap().leaf(Role::ApiUser).origin().digest);
    }

    #[test]
    fn a_serialized_profile_is_read_back_unchanged() {
        let profiles = ProfileSet::built_in().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.yaml"), profiles.root().to_string()).unwrap();
        for profile in profiles.leaves() {
            std::fs::write(directory.path().join(file_name(profile.role().as_str())), profile.to_string())
                .unwrap();
        }
        let again = ProfileSet::load(directory.path()).unwrap();
        assert_eq!(again.root().to_string(), profiles.root().to_string());
        for (again, profile) in again.leaves().zip(profiles.leaves()) {
            assert_eq!(again.to_string(), profile.to_string());
        }
        let json = serde_json::to_value(profiles.leaf(Role::NodeAgent)).unwrap();
        assert_eq!(json["source"], "built-in");
        assert_eq!(json["validity"]["default"], "90d");
        assert_eq!(json["extended_key_usage"]["with_hosts"][0], "server_auth");
    }

    const ROOT: &str = "root.yaml";
    const CONTROL: &str = "control-service.yaml";
    const NODE: &str = "node-agent.yaml";
    const USER: &str = "api-user.yaml";

    /// File, text, replacement, and start of the resulting message.
    #[rustfmt::skip]
    const BREACHES: &[(&str, &str, &str, &str)] = &[
        // YAML and types.
        (NODE, "version: 1", "version: 1\nversion: 1", "duplicate key `version`"),
        (NODE, "version: 1", "version: one", "version: invalid type: string \"one\", expected u32"),
        (NODE, "always: [", "allways: [", "extended_key_usage: unknown field `allways`, expected `always` or `with_hosts`"),
        (ROOT, "key_usage:", "extended_key_usage: {}\nkey_usage:", "unknown field `extended_key_usage`, expected one of"),
        (NODE, "  after: 0.66", "  # nothing", "renewal: missing field `after`"),
        // Rules of every profile.
        (NODE, "version: 1", "version: 2", "version: 2 is not supported; the only version is 1"),
        (NODE, "role: node-agent", "role: api-user", "role: `api-user` must be `node-agent`, as in the file name"),
        (ROOT, "role: root", "role: node-agent", "role: `node-agent` must be `root`, as in the file name"),
        (NODE, "algorithms: [ecdsa-p256,", "algorithms: [rsa-1024,", "key.algorithms[0]: `rsa-1024` is not a key type: choose"),
        (NODE, "algorithms: [ecdsa-p256,", "algorithms: [ed25519,", "key.algorithms[2]: `ed25519` is listed twice"),
        (USER, "default: 90d", "default: 90", "validity.default: `90` is not a duration"),
        (USER, "default: 90d", "default: 90 days", "validity.default: `90 days` is not a duration"),
        (USER, "default: 90d", "default: 1m", "validity.default: 1m is less than the minimum, 5m"),
        (USER, "maximum: 365d", "maximum: 89d", "validity.maximum: 89d is less than the default, 90d"),
        (USER, "backdate: 5m", "backdate: 2h", "validity.backdate: 2h exceeds the maximum, 1h"),
        (USER, "after: 0.66", "after: 1.0", "renewal.after: 1 is not between 0 and 1"),
        (USER, "after: 0.66", "after: 0", "renewal.after: 0 is not between 0 and 1"),
        (USER, "after: 0.66", "after: .nan", "renewal.after: NaN is not between 0 and 1"),
        (USER, "key: rekey", "key: new", "renewal.key: `new` is neither rekey nor same_key"),
        (NODE, "maximum: 825d", "maximum: 21y", "validity.maximum: 21y exceeds that of the root, 20y: a certificate must not outlive its issuer"),
        // CA or leaf.
        (ROOT, "ca: true", "ca: false", "basic_constraints.ca: must be true: the root is a CA"),
        (ROOT, "  path_length: 0", "  # nothing", "basic_constraints.path_length: missing: 0 forbids intermediate CAs"),
        (ROOT, "key_usage: [key_cert_sign, crl_sign]", "key_usage: [key_cert_sign]", "key_usage: must be exactly [key_cert_sign, crl_sign]"),
        (NODE, "ca: false", "ca: true", "basic_constraints.ca: must be false: only the root is a CA"),
        (NODE, "ca: false", "{ ca: false, path_length: 1 }", "basic_constraints.path_length: only a CA has a path length"),
        (NODE, "key_usage: [digital_signature]", "key_usage: [digital_signature, key_cert_sign]", "key_usage: must be exactly [digital_signature]"),
        // Names.
        (ROOT, "\"{name}\"", "\"root\"", "subject.common_name: `root` lacks {name}: subjects would not be unique"),
        (NODE, "\"node-{name}\"", "\"node-{name}-{uuid}\"", "subject.common_name: `node-{name}-{uuid}` has `{`; allowed are one {name}, letters"),
        (NODE, "\"node-{name}\"", "\"user-{name}\"", "subject.common_name: `user-{name}` must begin with `node-`"),
        (NODE, "\"node-{name}\"", "\"node-{name},O=x\"", "subject.common_name: `node-{name},O=x` has `,`"),
        (NODE, "\"node-{name}\"", "node-", "subject.common_name: `node-` lacks {name}"),
        (CONTROL, "common_name: control-service", "common_name: \"{name}\"", "subject.common_name: `{name}` must begin with `control-service`"),
        (USER, "/api-user/{name}", "/node-agent/{name}", "subject_alt_name.uri: `spiffe://{trust_domain}/node-agent/{name}` must be `spiffe://{trust_domain}/api-user/{name}`"),
        (CONTROL, "  dns: [control-service]", "  dns: []", "subject_alt_name.dns: must be exactly [control-service]"),
        // Hosts.
        (NODE, "  hosts: ", "  dns: [control-service]\n  hosts: ", "subject_alt_name.dns: node-agent has no fixed DNS name; list allowed names in `hosts`"),
        (NODE, "at_most: 4", "at_most: 0", "subject_alt_name.hosts.at_most: 0 is not within 1 to 100"),
        (NODE, "at_most: 4", "at_most: 101", "subject_alt_name.hosts.at_most: 101 is not within 1 to 100"),
        (NODE, "dns: [\"*\"]", "dns: [\"a.*.b\"]", "subject_alt_name.hosts.dns[0]: `a.*.b` is not `*`, `*.DOMAIN` or a complete DNS name"),
        (NODE, "dns: [\"*\"]", "dns: [control-service]", "subject_alt_name.hosts.dns[0]: `control-service` is reserved for control services"),
        (NODE, "ip: [0.0.0.0/0", "ip: [10.0.0.1/8", "subject_alt_name.hosts.ip[0]: `10.0.0.1/8` has host bits set: write 10.0.0.0/8"),
        (NODE, "ip: [0.0.0.0/0", "ip: [10.0.0.0/33", "subject_alt_name.hosts.ip[0]: `10.0.0.0/33` is not an IP network"),
        (USER, "\nkey:\n", "  hosts: { at_most: 1, dns: [\"*\"] }\nkey:\n", "subject_alt_name.hosts: api-user has no host"),
        // Purposes.
        (NODE, "always: [client_auth]", "always: [client_auth, code_signing]", "extended_key_usage.always[1]: `code_signing` is not supported"),
        (NODE, "always: [client_auth]", "always: [client_auth, server_auth]", "extended_key_usage.always: node-agent has server_auth only with a host"),
        (NODE, "always: [client_auth]", "always: []", "extended_key_usage.always: node-agent requires client_auth"),
        (USER, "always: [client_auth]", "always: [client_auth, server_auth]", "extended_key_usage.always: api-user never has server_auth"),
        (USER, "always: [client_auth]", "always: [client_auth]\n  with_hosts: [server_auth]", "extended_key_usage.with_hosts: has no effect"),
        (CONTROL, "always: [server_auth, client_auth]", "always: [client_auth]", "extended_key_usage.always: control-service requires server_auth"),
    ];

    #[test]
    fn every_problem_is_reported_with_its_line() {
        for &(file, what, by, rule) in BREACHES {
            let directory = directory(&[(file, what, by)]);
            let found = problems(directory.path());
            let [problem] = found.as_slice() else { panic!("{by}: {found:#?}") };
            let (place, message) = problem.split_once(": ").unwrap();
            assert!(message.starts_with(rule), "{by}: {problem}");
            let line: usize = place.strip_prefix(&format!("{file}:")).expect(problem).parse().unwrap();
            let (_, text) = built_in().find(|(name, _)| name == file).unwrap();
            let newlines = |text: &str| text.matches('\n').count();
            let first = 1 + newlines(&text[..text.find(what).unwrap()]);
            // A missing key is reported at the line of its parent, just above or below.
            let margin = if rule.contains("missing") { 2 } else { 0 };
            let near = first - margin..=first + newlines(by) + margin;
            assert!(near.contains(&line), "{problem} is not on lines {near:?}");
        }
    }

    #[test]
    fn all_problems_of_a_set_are_reported_at_once() {
        let directory = directory(&[
            ("api-user.yaml", "default: 90d", "default: 90"),
            ("api-user.yaml", "after: 0.66", "after: 2"),
            ("node-agent.yaml", "ip: [0.0.0.0/0, \"::/0\"]", "ip: [everywhere, 10.0.0.1/8]"),
            ("node-agent.yaml", "maximum: 825d", "maximum: 100y"),
            ("control-service.yaml", "version: 1", "versoin: 1"),
        ]);
        std::fs::write(directory.path().join("api-user.yaml~"), "").unwrap();
        std::fs::remove_file(directory.path().join("root.yaml")).unwrap();
        let found = problems(directory.path());
        for expected in [
            "api-user.yaml~: not the profile of a role",
            "root.yaml: missing",
            "unknown field `versoin`",
            "`everywhere` is not an IP network",
            "`10.0.0.1/8` has host bits",
            "`90` is not a duration",
            "renewal.after: 2 is",
        ] {
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
        }
        let message = ProfileSet::load(directory.path()).unwrap_err();
        assert_eq!(message.to_string().lines().count(), 1 + found.len());
        assert_eq!(message.code(), "profile.rules");
    }

    #[test]
    fn unreadable_files_are_reported_too() {
        let directory = directory(&[]);
        let path = directory.path().join("root.yaml");
        std::fs::write(&path, vec![b' '; 70_000]).unwrap();
        assert!(problems(directory.path())[0].contains("larger than"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(problems(directory.path())[0].contains("not a regular file"));
        let missing = ProfileSet::load(&directory.path().join("missing")).unwrap_err();
        assert_eq!(missing.code(), "profile.directory");
    }
}
