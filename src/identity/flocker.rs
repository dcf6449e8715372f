//! Identities in the form of Flocker.
//!
//! The common name gives role and name, the organizational unit the cluster.
//!
//! Used only for clusters with certificates from other issuers; this project's own carry a SPIFFE ID.

use uuid::Uuid;

use super::certificate::{IdentityRefusal, check_is_leaf};
use super::cluster::TrustDomain;
use super::name::Name;
use super::role::{CommonNameForm, Role};
use super::spiffe_id::Identity;
use crate::x509::{Certificate, SubjectAltName};

impl Identity {
    /// Identity in the subject of a certificate of `cluster`: `control-service`, `node-UUID` or `user-NAME`.
    ///
    /// The subject of a control service has no name of its own, so its name is `control-service`. Flocker's
    /// certificates have no URI; a URI that contradicts the subject is refused as ambiguous.
    ///
    /// # Errors
    /// [`IdentityRefusal`] unless the certificate is a leaf with exactly one identity of the cluster.
    pub fn of_flocker_certificate(
        certificate: &Certificate,
        cluster: Uuid,
        trust_domain: &TrustDomain,
    ) -> Result<Self, IdentityRefusal> {
        check_is_leaf(certificate)?;
        let unit = only("organizational unit", &certificate.subject.organizational_units)?;
        if unit != cluster.hyphenated().to_string() {
            return Err(IdentityRefusal::ForeignCluster { expected: cluster });
        }
        let (role, name) = role_and_name(only("common name", &certificate.subject.common_names)?)?;
        let common_name_has_name = matches!(role.common_name_form(), CommonNameForm::Prefix(_));
        let contradicts = |uri: &str| {
            !uri.parse::<Self>().is_ok_and(|other| {
                other.role == role
                    && other.trust_domain == *trust_domain
                    && (other.name == name || !common_name_has_name)
            })
        };
        for alternative in &certificate.subject_alt_names {
            if let SubjectAltName::Uri(uri) = alternative
                && contradicts(uri)
            {
                return Err(IdentityRefusal::Contradicted);
            }
        }
        Ok(Self { trust_domain: trust_domain.clone(), role, name })
    }
}

/// The only attribute of its kind; several would mean several identities.
fn only<'a>(what: &'static str, found: &'a [String]) -> Result<&'a str, IdentityRefusal> {
    match found {
        [one] => Ok(one),
        _ => Err(IdentityRefusal::NotOne { what, count: found.len() }),
    }
}

fn role_and_name(common_name: &str) -> Result<(Role, Name), IdentityRefusal> {
    let name_in = |role: Role| match role.common_name_form() {
        CommonNameForm::Fixed(fixed) => (common_name == fixed).then_some(fixed),
        CommonNameForm::Prefix(prefix) => common_name.strip_prefix(prefix),
    };
    let found = Role::ALL.into_iter().find_map(|role| Some((role, name_in(role)?)));
    let (role, name) = found.ok_or(IdentityRefusal::CommonName)?;
    Ok((role, Name::parse(role, name).map_err(IdentityRefusal::Malformed)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use crate::x509::testing::{Root, authority, client, encode};
    use rcgen::{CertificateParams, SanType};

    const CLUSTER: &str = "0b0c7f5e-8f4f-4a55-9b49-1f0d6f6f2c11";
    const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";

    const CN: u8 = 3;
    const OU: u8 = 11;
    const UTF8: u8 = 0x0c;
    const BMP: u8 = 0x1e;

    /// Identity read from a certificate whose subject has these attributes, or the code of the refusal.
    fn read_typed(attributes: &[(u8, u8, &[u8])], change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = client(7);
        params.subject_alt_names.clear();
        change(&mut params);
        let subject = attributes.iter().flat_map(|(kind, tag, value)| {
            let attribute = [encode(0x06, &[0x55, 4, *kind]), encode(*tag, value)].concat();
            encode(0x31, &encode(0x30, &attribute))
        });
        let subject = encode(0x30, &subject.collect::<Vec<_>>());
        let root = Root::new("root");
        let der = root.resign(&root.issue(&params), |elements| elements[5] = subject);
        let certificate = Certificate::from_der(&der).unwrap();
        let cluster = CLUSTER.parse().unwrap();
        let found = Identity::of_flocker_certificate(&certificate, cluster, &"prod".parse().unwrap());
        found.map_or_else(|refusal| refusal.code().to_owned(), |identity| identity.to_string())
    }

    fn read(common_names: &[&str], units: &[&str]) -> String {
        let names = common_names.iter().map(|name| (CN, UTF8, name.as_bytes()));
        let units = units.iter().map(|unit| (OU, UTF8, unit.as_bytes()));
        read_typed(&names.chain(units).collect::<Vec<_>>(), |_| {})
    }

    #[test]
    fn the_subject_is_the_identity() {
        let node = format!("node-{NODE}");
        for (common_name, identity) in [
            ("control-service", "spiffe://prod/control-service/control-service"),
            (node.as_str(), &format!("spiffe://prod/node-agent/{NODE}")),
            ("user-alice", "spiffe://prod/api-user/alice"),
            ("user-user-alice", "spiffe://prod/api-user/user-alice"),
        ] {
            assert_eq!(read(&[common_name], &[CLUSTER]), *identity);
        }
    }

    #[test]
    fn a_subject_without_exactly_one_identity_of_the_cluster_is_refused() {
        let foreign = "9d1c1f0e-5b5a-4c3e-8b1e-0a0b0c0d0e0f";
        let long = format!("user-{}", "a".repeat(65_536));
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&[], &[CLUSTER], "identity.not_one"),
            (&["user-alice", "control-service"], &[CLUSTER], "identity.not_one"),
            (&["user-alice", "user-alice"], &[CLUSTER], "identity.not_one"),
            (&["user-alice"], &[], "identity.not_one"),
            (&["user-alice"], &[CLUSTER, foreign], "identity.not_one"),
            (&["user-alice"], &[foreign], "identity.foreign_cluster"),
            (&["user-alice"], &[&CLUSTER.to_uppercase()], "identity.foreign_cluster"),
            (&["alice"], &[CLUSTER], "identity.common_name"),
            (&["User-alice"], &[CLUSTER], "identity.common_name"),
            (&["control-service\0"], &[CLUSTER], "identity.common_name"),
            (&["control-service-2"], &[CLUSTER], "identity.common_name"),
            (&["root"], &[CLUSTER], "identity.common_name"),
            (&["user-"], &[CLUSTER], "identity.malformed"),
            (&["user-control-service"], &[CLUSTER], "identity.malformed"),
            (&["user-alice\0"], &[CLUSTER], "identity.malformed"),
            (&["user-alice\r\nX-Cluster-Role: control-service"], &[CLUSTER], "identity.malformed"),
            (&["user-alic\u{435}"], &[CLUSTER], "identity.malformed"),
            (&[&long], &[CLUSTER], "identity.malformed"),
            (&["node-7"], &[CLUSTER], "identity.malformed"),
            (&[&format!("user-alice,OU={CLUSTER}")], &[CLUSTER], "identity.malformed"),
        ];
        for (common_names, units, code) in cases {
            let shown: String = format!("{common_names:?}").chars().take(80).collect();
            assert_eq!(read(common_names, units), *code, "{shown} {units:?}");
        }
    }

    #[test]
    fn an_attribute_inside_the_value_of_another_is_part_of_the_value() {
        let both = format!("user-alice,OU={CLUSTER}");
        assert_eq!(read(&[&both], &[]), "identity.not_one");
        let unit = format!("{CLUSTER}+CN=control-service");
        assert_eq!(read(&["user-alice"], &[&unit]), "identity.foreign_cluster");
    }

    #[test]
    fn a_second_name_in_an_unknown_encoding_counts() {
        let hidden: Vec<u8> = "control-service".bytes().flat_map(|byte| [0, byte]).collect();
        let attributes =
            [(CN, UTF8, b"user-alice".as_slice()), (CN, BMP, &hidden), (OU, UTF8, CLUSTER.as_bytes())];
        assert_eq!(read_typed(&attributes, |_| {}), "identity.not_one");
    }

    #[test]
    fn a_uri_that_contradicts_the_subject_is_refused() {
        let alice = [(CN, UTF8, b"user-alice".as_slice()), (OU, UTF8, CLUSTER.as_bytes())];
        for (uri, found) in [
            ("spiffe://prod/api-user/alice", "spiffe://prod/api-user/alice"),
            ("spiffe://prod/api-user/bob", "identity.contradicted"),
            ("spiffe://prod/control-service/a.example", "identity.contradicted"),
            ("spiffe://other/api-user/alice", "identity.contradicted"),
            ("https://a.example", "identity.contradicted"),
        ] {
            let add = |params: &mut CertificateParams| {
                params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
            };
            assert_eq!(read_typed(&alice, add), found, "{uri}");
        }
        let authority = |params: &mut CertificateParams| params.is_ca = authority("x").is_ca;
        assert_eq!(read_typed(&alice, authority), "identity.ca_certificate");
    }
}
