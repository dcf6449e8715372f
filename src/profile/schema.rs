//! What a profile's file looks like: keys and types, nothing checked beyond them.
//!
//! Whatever has a rule of its own is still text here, so that one wrong value hides no other.

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RootFile {
    pub(super) version: u32,
    pub(super) role: String,
    pub(super) subject: SubjectFile,
    pub(super) key: KeyFile,
    pub(super) validity: ValidityFile,
    pub(super) key_usage: Vec<String>,
    pub(super) basic_constraints: BasicConstraintsFile,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeafFile {
    pub(super) version: u32,
    pub(super) role: String,
    pub(super) subject: SubjectFile,
    pub(super) subject_alt_name: SubjectAltNameFile,
    pub(super) key: KeyFile,
    pub(super) validity: ValidityFile,
    pub(super) key_usage: Vec<String>,
    pub(super) extended_key_usage: ExtendedKeyUsageFile,
    pub(super) basic_constraints: BasicConstraintsFile,
    pub(super) renewal: RenewalFile,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectFile {
    pub(super) common_name: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectAltNameFile {
    pub(super) uri: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hosts: Option<HostsFile>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostsFile {
    pub(super) at_most: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ip: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub(super) algorithms: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidityFile {
    pub(super) minimum: String,
    pub(super) default: String,
    pub(super) maximum: String,
    #[serde(default = "five_minutes")]
    pub(super) backdate: String,
}

fn five_minutes() -> String {
    "5m".to_owned()
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendedKeyUsageFile {
    pub(super) always: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) with_hosts: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicConstraintsFile {
    pub(super) ca: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_length: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewalFile {
    pub(super) after: f64,
    pub(super) key: String,
}
