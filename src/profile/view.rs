//! A profile written back in the form of its file, for showing: what is shown can be read again.

use std::fmt;

use serde::{Serialize, Serializer};

use super::built_in::ROOT;
use super::leaf::LeafProfile;
use super::origin::Origin;
use super::review;
use super::root::RootProfile;
use super::rules::{KeyRule, ValidityRule};
use super::schema::{
    BasicConstraintsFile, ExtendedKeyUsageFile, HostsFile, KeyFile, LeafFile, RenewalFile, RootFile,
    SubjectAltNameFile, SubjectFile, ValidityFile,
};
use crate::clock::format_duration;
use crate::identity::{CONTROL_SERVICE_DNS_NAME, Role};
use crate::x509::KeyUsage;
use crate::yaml;

/// The profile as its file would have it, after where it came from.
#[derive(Serialize)]
struct View<'a, F> {
    #[serde(flatten)]
    origin: &'a Origin,
    #[serde(flatten)]
    file: F,
}

impl Serialize for RootProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        View { origin: &self.origin, file: RootFile::from(self) }.serialize(serializer)
    }
}

impl Serialize for LeafProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        View { origin: &self.origin, file: LeafFile::from(self) }.serialize(serializer)
    }
}

/// The profile as YAML that could stand in `ca-templates/`.
impl fmt::Display for RootProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::write(&RootFile::from(self), f)
    }
}

/// The profile as YAML that could stand in `ca-templates/`.
impl fmt::Display for LeafProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::write(&LeafFile::from(self), f)
    }
}

impl From<&RootProfile> for RootFile {
    fn from(profile: &RootProfile) -> Self {
        Self {
            version: review::VERSION,
            role: ROOT.to_owned(),
            subject: SubjectFile { common_name: profile.common_name.0.clone() },
            key: KeyFile::from(&profile.key),
            validity: ValidityFile::from(&profile.validity),
            key_usage: words(KeyUsage::KEY_CERT_SIGN_AND_CRL_SIGN.names()),
            basic_constraints: BasicConstraintsFile { ca: true, path_length: Some(profile.path_length) },
        }
    }
}

impl From<&LeafProfile> for LeafFile {
    fn from(profile: &LeafProfile) -> Self {
        let role = profile.role;
        let has_fixed_name = role == Role::ControlService;
        Self {
            version: review::VERSION,
            role: role.to_string(),
            subject: SubjectFile { common_name: profile.common_name.0.clone() },
            subject_alt_name: SubjectAltNameFile {
                uri: review::spiffe_id_template(role),
                dns: words(has_fixed_name.then_some(CONTROL_SERVICE_DNS_NAME)),
                hosts: profile.hosts.as_ref().map(|hosts| HostsFile {
                    at_most: hosts.at_most,
                    dns: words(&hosts.dns),
                    ip: words(&hosts.ip),
                }),
            },
            key: KeyFile::from(&profile.key),
            validity: ValidityFile::from(&profile.validity),
            key_usage: words(KeyUsage::DIGITAL_SIGNATURE.names()),
            extended_key_usage: ExtendedKeyUsageFile {
                always: words(&profile.purposes.always),
                with_hosts: words(&profile.purposes.with_hosts),
            },
            basic_constraints: BasicConstraintsFile { ca: false, path_length: None },
            renewal: RenewalFile {
                after: profile.renewal.after,
                key: profile.renewal.key.as_str().to_owned(),
            },
        }
    }
}

impl From<&KeyRule> for KeyFile {
    fn from(rule: &KeyRule) -> Self {
        Self { algorithms: words(&rule.algorithms) }
    }
}

impl From<&ValidityRule> for ValidityFile {
    fn from(rule: &ValidityRule) -> Self {
        Self {
            minimum: format_duration(rule.minimum),
            default: format_duration(rule.default),
            maximum: format_duration(rule.maximum),
            backdate: format_duration(rule.backdate),
        }
    }
}

fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}
