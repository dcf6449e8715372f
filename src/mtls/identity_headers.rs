//! Header fields that tell an upstream who the verified peer is: RFC 9440, Envoy's form, and ours.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{HeaderName, HeaderValue, InvalidHeaderValue};

use crate::identity::Identity;
use crate::x509::Certificate;

/// Client certificate (RFC 9440, section 2.2).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// Certificates between the client's and the trust anchor, if there are any (RFC 9440, section 2.3).
pub const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
/// Client certificate details in Envoy's form.
pub const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// SPIFFE ID of the client.
pub const X_CLUSTER_ID: HeaderName = HeaderName::from_static("x-cluster-id");
/// Name of the client within its role.
pub const X_CLUSTER_NAME: HeaderName = HeaderName::from_static("x-cluster-name");
/// Role of the client.
pub const X_CLUSTER_ROLE: HeaderName = HeaderName::from_static("x-cluster-role");
/// Serial number of the client certificate.
pub const X_CLUSTER_SERIAL: HeaderName = HeaderName::from_static("x-cluster-serial");

/// Header fields about one peer, built once per certificate and set on each of its requests.
#[derive(Clone, Debug)]
pub struct IdentityHeaders(Vec<(HeaderName, HeaderValue)>);

impl IdentityHeaders {
    /// Fields for the holder of `certificate`, whose verified identity is `peer`.
    ///
    /// # Errors
    /// [`InvalidHeaderValue`] if the identity or subject contains a character that no field can carry.
    pub fn new(peer: &Identity, certificate: &Certificate) -> Result<Self, InvalidHeaderValue> {
        Ok(Self(vec![
            (CLIENT_CERT, byte_sequence(certificate).try_into()?),
            (X_FORWARDED_CLIENT_CERT, client_cert_details(peer, certificate).try_into()?),
            (X_CLUSTER_ID, peer.to_string().try_into()?),
            (X_CLUSTER_NAME, HeaderValue::from_str(peer.name.as_str())?),
            (X_CLUSTER_ROLE, HeaderValue::from_static(peer.role.as_str())),
            (X_CLUSTER_SERIAL, certificate.serial_number.to_string().try_into()?),
        ]))
    }

    /// These fields and `Client-Cert-Chain` for the verified `intermediates`, the leaf's issuer first.
    ///
    /// # Errors
    /// None in practice: a field can carry base64.
    pub fn with_chain(mut self, intermediates: &[Certificate]) -> Result<Self, InvalidHeaderValue> {
        if !intermediates.is_empty() {
            let chain: Vec<_> = intermediates.iter().map(byte_sequence).collect();
            self.0.push((CLIENT_CERT_CHAIN, chain.join(", ").try_into()?));
        }
        Ok(self)
    }

    /// The fields, in the order in which they are set.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

/// Certificate as a byte sequence of structured fields (RFC 8941, section 3.3.5).
fn byte_sequence(certificate: &Certificate) -> String {
    format!(":{}:", BASE64_STANDARD.encode(&certificate.der))
}

/// Value of `X-Forwarded-Client-Cert`: one element, its subject quoted.
fn client_cert_details(peer: &Identity, certificate: &Certificate) -> String {
    let subject = certificate.subject.to_string().replace('\\', r"\\").replace('"', r#"\""#);
    format!("Hash={};Subject=\"{subject}\";URI={peer}", certificate.fingerprint())
}
