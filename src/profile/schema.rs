//! Structure of a profile's file: its keys and their YAML types.
//!
//! Values with rules of their own stay text here, so that one invalid value doesn't hide another.

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RootFile {
    pub(super) version: u32,
    pub(super) role: String,
    pub(super) subject: SubjectSection,
    pub(super) key: KeySection,
    pub(super) validity: ValiditySection,
    pub(super) key_usage: Vec<String>,
    pub(super) basic_constraints: BasicConstraintsSection,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeafFile {
    pub(super) version: u32,
    pub(super) role: String,
    pub(super) subject: SubjectSection,
    pub(super) subject_alt_name: SubjectAltNameSection,
    pub(super) key: KeySection,
    pub(super) validity: ValiditySection,
    pub(super) key_usage: Vec<String>,
    pub(super) extended_key_usage: ExtendedKeyUsageSection,
    pub(super) basic_constraints: BasicConstraintsSection,
    pub(super) renewal: RenewalSection,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectSection {
    pub(super) common_name: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectAltNameSection {
    pub(super) uri: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hosts: Option<HostsSection>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostsSection {
    pub(super) at_most: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ip: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySection {
    pub(super) algorithms: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValiditySection {
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
pub(super) struct ExtendedKeyUsageSection {
    pub(super) always: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) with_hosts: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicConstraintsSection {
    pub(super) ca: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_length: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewalSection {
    pub(super) after: f64,
    pub(super) key: String,
}
