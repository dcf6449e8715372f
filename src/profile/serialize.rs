//! Serialization of profiles in the form of their files. The output is a valid profile again.

use std::fmt;

use serde::{Serialize, Serializer};

use super::built_in::ROOT;
use super::leaf::LeafProfile;
use super::origin::ProfileOrigin;
use super::root::RootProfile;
use super::rules::{KeyRule, ValidityRule};
use super::schema::{
    BasicConstraintsSection, ExtendedKeyUsageSection, HostsSection, KeySection, LeafFile, RenewalSection,
    RootFile, SubjectAltNameSection, SubjectSection, ValiditySection,
};
use super::validate;
use crate::clock::format_duration;
use crate::x509::KeyUsage;
use crate::yaml;

/// Profile in the form of its file, preceded by its origin.
#[derive(Serialize)]
struct Document<'a, F> {
    #[serde(flatten)]
    origin: &'a ProfileOrigin,
    #[serde(flatten)]
    file: F,
}

impl Serialize for RootProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document { origin: &self.origin, file: RootFile::from(self) }.serialize(serializer)
    }
}

impl Serialize for LeafProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document { origin: &self.origin, file: LeafFile::from(self) }.serialize(serializer)
    }
}

/// YAML in the form of the files in `ca-templates/`.
impl fmt::Display for RootProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::write(&RootFile::from(self), f)
    }
}

/// YAML in the form of the files in `ca-templates/`.
impl fmt::Display for LeafProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::write(&LeafFile::from(self), f)
    }
}

impl From<&RootProfile> for RootFile {
    fn from(profile: &RootProfile) -> Self {
        Self {
            version: validate::VERSION,
            role: ROOT.to_owned(),
            subject: SubjectSection { common_name: profile.common_name.0.clone() },
            key: KeySection::from(&profile.key),
            validity: ValiditySection::from(&profile.validity),
            key_usage: words(KeyUsage::KEY_CERT_SIGN_AND_CRL_SIGN.names()),
            basic_constraints: BasicConstraintsSection { ca: true, path_length: Some(profile.path_length) },
        }
    }
}

impl From<&LeafProfile> for LeafFile {
    fn from(profile: &LeafProfile) -> Self {
        let role = profile.role;
        Self {
            version: validate::VERSION,
            role: role.to_string(),
            subject: SubjectSection { common_name: profile.common_name.0.clone() },
            subject_alt_name: SubjectAltNameSection {
                uri: validate::spiffe_id_template(role),
                dns: words(role.fixed_dns_name()),
                hosts: profile.hosts.as_ref().map(|hosts| HostsSection {
                    at_most: hosts.at_most,
                    dns: words(&hosts.dns),
                    ip: words(&hosts.ip),
                }),
            },
            key: KeySection::from(&profile.key),
            validity: ValiditySection::from(&profile.validity),
            key_usage: words(KeyUsage::DIGITAL_SIGNATURE.names()),
            extended_key_usage: ExtendedKeyUsageSection {
                always: words(&profile.purposes.always),
                with_hosts: words(&profile.purposes.with_hosts),
            },
            basic_constraints: BasicConstraintsSection { ca: false, path_length: None },
            renewal: RenewalSection {
                after: profile.renewal.after,
                key: profile.renewal.key.as_str().to_owned(),
            },
        }
    }
}

impl From<&KeyRule> for KeySection {
    fn from(rule: &KeyRule) -> Self {
        Self { algorithms: words(&rule.algorithms) }
    }
}

impl From<&ValidityRule> for ValiditySection {
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
