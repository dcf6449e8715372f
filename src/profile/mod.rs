//! What each role's certificates may be: profiles, read from `ca-templates/`, and the plans and
//! judgements that follow from them (RFC 5280, section 4).
//!
//! Power runs in one direction. A request names an identity, hosts, a key type and a validity; the
//! profile fills in the rest or refuses; the [`LeafPlan`] says exactly what is to be signed; and
//! [`LeafPlan::judge`] compares the signed certificate with it, field by field, before it is let
//! out. Nothing that a certification request says gets into a certificate on its own.
//!
//! No profile exists that breaks a rule, and no set of profiles in which one does. Nothing here
//! signs, and nothing knows an issuer beyond its end.

mod judge;
mod plan;
mod review;
mod rules;
mod schema;

pub use judge::{Asked, Mismatch};
pub use plan::{LeafPlan, LeafRequest, PolicyError, RootPlan, RootRequest};
pub use rules::{CommonName, HostRule, KeyRule, PurposeRule, RenewalKey, RenewalRule, ValidityRule};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::clock;
use crate::files::{self, FileError};
use crate::identity::Role;
use crate::x509::Sha256;
use crate::yaml::{self, Document, Problem};

/// The role of the root in profiles; an identity never has it.
const ROOT: &str = "root";

/// The files of the compiled-in profiles: their names and their texts.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("root.yaml", include_str!("../../ca-templates/root.yaml")),
    ("control-service.yaml", include_str!("../../ca-templates/control-service.yaml")),
    ("node-agent.yaml", include_str!("../../ca-templates/node-agent.yaml")),
    ("api-user.yaml", include_str!("../../ca-templates/api-user.yaml")),
];

/// Where a profile came from, and the digest of its text: kept with every certificate it allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file.
    pub source: Source,
    /// SHA-256 of its bytes.
    pub digest: Sha256,
}

/// Where a profile came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is compiled in.
    BuiltIn,
    /// A file of the operator's.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.pad("built-in"),
            Self::File(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the root's certificate may be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RootProfile {
    #[serde(flatten)]
    origin: Origin,
    common_name: CommonName,
    key: KeyRule,
    validity: ValidityRule,
    path_length: u32,
}

impl RootProfile {
    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key types it allows.
    #[must_use]
    pub fn key(&self) -> &KeyRule {
        &self.key
    }

    /// The validity it allows.
    #[must_use]
    pub fn validity(&self) -> &ValidityRule {
        &self.validity
    }
}

/// What the certificates of one role may be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeafProfile {
    role: Role,
    #[serde(flatten)]
    origin: Origin,
    common_name: CommonName,
    hosts: Option<HostRule>,
    key: KeyRule,
    validity: ValidityRule,
    #[serde(rename = "extended_key_usage")]
    purposes: PurposeRule,
    renewal: RenewalRule,
}

impl LeafProfile {
    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The hosts that a request may name; `None` for no host.
    #[must_use]
    pub fn hosts(&self) -> Option<&HostRule> {
        self.hosts.as_ref()
    }

    /// The key types it allows.
    #[must_use]
    pub fn key(&self) -> &KeyRule {
        &self.key
    }

    /// The validity it allows.
    #[must_use]
    pub fn validity(&self) -> &ValidityRule {
        &self.validity
    }

    /// When and how its certificates are replaced.
    #[must_use]
    pub fn renewal(&self) -> &RenewalRule {
        &self.renewal
    }
}

/// The root's profile and one for each role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileSet {
    root: RootProfile,
    control_service: LeafProfile,
    node_agent: LeafProfile,
    api_user: LeafProfile,
}

impl ProfileSet {
    /// The compiled-in profiles.
    ///
    /// # Errors
    /// [`ProfileError::Rules`]; a test keeps it from happening.
    pub fn built_in() -> Result<Self, ProfileError> {
        Self::read(Vec::new(), |name| {
            let label = format!("built-in {name}");
            let (_, text) = BUILT_IN
                .into_iter()
                .find(|(built_in, _)| *built_in == name)
                .ok_or_else(|| Problem::new(&label, None, MISSING))?;
            File::read(&label, Source::BuiltIn, text.as_bytes())
        })
    }

    /// The profiles in `directory`, which holds one file for each and nothing else.
    ///
    /// # Errors
    /// [`ProfileError::Directory`] when it cannot be listed, [`ProfileError::Rules`] with everything
    /// that is wrong with what it holds.
    pub fn load(directory: &Path) -> Result<Self, ProfileError> {
        let strangers = strangers(directory)
            .map_err(|source| ProfileError::Directory { path: directory.to_owned(), source })?;
        Self::read(strangers, |name| {
            let path = directory.join(name);
            let label = path.to_string_lossy();
            let bytes = files::read(&path, yaml::LIMIT).map_err(|error| match error {
                FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    Problem::new(&label, None, MISSING)
                }
                FileError::Io { source, .. } => Problem::new(&label, None, &source.to_string()),
                other => Problem::new(&label, None, &other.to_string()),
            })?;
            File::read(&label, Source::File(path.clone()), &bytes)
        })
    }

    /// Opens every profile by its file name and puts them together if there is no problem at all.
    fn read(
        mut problems: Vec<Problem>,
        open: impl Fn(&str) -> Result<File, Problem>,
    ) -> Result<Self, ProfileError> {
        let root = open(&file_name(ROOT))
            .map_err(|problem| vec![problem])
            .and_then(|file| review::root(&file.document, file.origin))
            .map_err(|found| problems.extend(found))
            .ok();
        let mut leaf = |role: Role| {
            let file = open(&file_name(role.as_str())).map_err(|problem| problems.push(problem)).ok()?;
            let profile = review::leaf(&file.document, role, file.origin)
                .map_err(|found| problems.extend(found))
                .ok()?;
            if let Some(root) = &root
                && profile.validity.maximum > root.validity.maximum
            {
                problems.push(file.document.at("validity").at("maximum").problem(format_args!(
                    "{} is more than the root's, {}: no certificate outlives its issuer",
                    clock::format_duration(profile.validity.maximum),
                    clock::format_duration(root.validity.maximum),
                )));
            }
            Some(profile)
        };
        let leaves = (leaf(Role::ControlService), leaf(Role::NodeAgent), leaf(Role::ApiUser));
        match (root, leaves) {
            (Some(root), (Some(control_service), Some(node_agent), Some(api_user)))
                if problems.is_empty() =>
            {
                Ok(Self { root, control_service, node_agent, api_user })
            }
            _ => Err(ProfileError::Rules { problems }),
        }
    }

    /// The root's profile.
    #[must_use]
    pub fn root(&self) -> &RootProfile {
        &self.root
    }

    /// The profile of a role.
    #[must_use]
    pub fn leaf(&self, role: Role) -> &LeafProfile {
        match role {
            Role::ControlService => &self.control_service,
            Role::NodeAgent => &self.node_agent,
            Role::ApiUser => &self.api_user,
        }
    }

    /// The profiles of all roles.
    pub fn leaves(&self) -> impl Iterator<Item = &LeafProfile> {
        Role::ALL.into_iter().map(|role| self.leaf(role))
    }
}

/// One profile's file, its structure sound, its rules not yet looked at.
struct File {
    document: Document,
    origin: Origin,
}

impl File {
    fn read(label: &str, source: Source, bytes: &[u8]) -> Result<Self, Problem> {
        let document = Document::parse(label, bytes)?;
        Ok(Self { document, origin: Origin { source, digest: Sha256::of(bytes) } })
    }
}

const MISSING: &str = "missing: the root and every role have one profile each";

/// The name of the file that holds the profile of `role`.
fn file_name(role: &str) -> String {
    format!("{role}.yaml")
}

/// A problem for everything in `directory` that is no profile: it would be thought to have effect.
fn strangers(directory: &Path) -> io::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if !BUILT_IN.iter().any(|(name, _)| entry.file_name() == *name) {
            let label = entry.path().to_string_lossy().into_owned();
            problems.push(Problem::new(&label, None, "not the file of any role: it would have no effect"));
        }
    }
    problems.sort();
    Ok(problems)
}

/// Why there are no profiles.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The directory cannot be listed.
    #[error("cannot read the profiles in {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Rules are broken; all of it is here.
    #[error("the profiles break {} {}{}", problems.len(), plural(problems), lines(problems))]
    Rules {
        /// Each breach, with its file and line.
        problems: Vec<Problem>,
    },
}

fn plural(problems: &[Problem]) -> &'static str {
    if problems.len() == 1 { "rule" } else { "rules" }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl ProfileError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "profile.directory",
            Self::Rules { .. } => "profile.rules",
        }
    }
}
