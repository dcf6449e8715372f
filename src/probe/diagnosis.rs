//! Diagnosis of a refused connection: checks in a fixed order, the likeliest cause first.

use serde::Serialize;
use time::OffsetDateTime;

use super::endpoint::Endpoint;
use super::observe::Observation;
use super::outcome::ConnectionOutcome;
use crate::error::{Code, Coded};
use crate::identity::Host;
use crate::mtls::tls::ClientCredentials;
use crate::mtls::{ChainVerifier, ExpectedPeer, PeerError};
use crate::x509::{Certificate, SubjectAltName};

/// Side of a connection that has to change something before it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AtFault {
    /// The client: its certificate or private key. JSON output calls it `caller`.
    #[serde(rename = "caller")]
    Client,
    /// The server: its certificate or configuration.
    Server,
}

/// Cause of a refused connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusalCause {
    /// Side that has to act.
    pub side: AtFault,
    /// Stable code of the cause.
    pub code: Code,
    /// Description in one sentence.
    pub message: String,
}

impl RefusalCause {
    /// Cause for a server whose certificate `leaf` is refused with `error`.
    #[must_use]
    pub fn of_server_certificate(leaf: &Certificate, error: &PeerError) -> Self {
        let names = match error {
            PeerError::Host { .. } => format!("; {}", host_names(leaf)),
            _ => String::new(),
        };
        let message =
            format!("the server's certificate ({}) is refused: {}{names}", leaf.subject, reason(error));
        Self { side: AtFault::Server, code: error.coded(), message }
    }
}

/// Text of `error` on any host: the verifier's own texts name keys of the gateway's configuration.
fn reason(error: &PeerError) -> String {
    match error {
        PeerError::NoCrl { issuer } => format!("there is no CRL of issuer {issuer}"),
        PeerError::Revoked { serial_number } => format!("certificate {serial_number} is revoked"),
        error => error.to_string(),
    }
}

/// Names and addresses that `leaf` is valid for, in a sentence.
fn host_names(leaf: &Certificate) -> String {
    let names: Vec<_> = leaf
        .subject_alt_names
        .iter()
        .filter_map(|name| match name {
            SubjectAltName::Dns(name) => Some(name.to_string()),
            SubjectAltName::Ip(address) => Some(address.to_string()),
            _ => None,
        })
        .collect();
    match names.as_slice() {
        [] => "it has no host name".to_owned(),
        names => format!("its host names are {}", names.join(", ")),
    }
}

/// Client identity that a connection was made with, or would be.
#[derive(Clone, Copy, Debug)]
pub enum ClientClaim<'a> {
    /// No client certificate.
    Anonymous,
    /// A certificate chain without its private key. The connection was made anonymously.
    CertificateOnly(&'a [Certificate]),
    /// A certificate chain with its private key.
    WithKey(&'a ClientCredentials),
}

/// Trust anchors, CRLs and time that certificates are checked against.
#[derive(Clone, Copy, Debug)]
pub struct TrustContext<'a> {
    /// Trust anchors and CRLs expected on both sides.
    pub chains: &'a ChainVerifier,
    /// Time of the check.
    pub at: OffsetDateTime,
}

impl TrustContext<'_> {
    /// Explain a refused connection; returns `None` if nothing refuses it.
    #[must_use]
    pub fn diagnose(
        &self,
        endpoint: &Endpoint,
        claim: ClientClaim<'_>,
        seen: &Observation,
    ) -> Option<RefusalCause> {
        if seen.outcome == ConnectionOutcome::NotTls {
            return seen.outcome.cause();
        }
        let chain = match &seen.chain {
            Ok(chain) => chain,
            Err(error) => {
                let message = format!("the server's certificate cannot be read: {error}");
                return Some(RefusalCause { side: AtFault::Server, code: error.coded(), message });
            }
        };
        // A client checks the server first, and aborts before it presents its own certificate.
        self.check_server(&endpoint.host, chain)
            .or_else(|| match claim {
                ClientClaim::Anonymous => None,
                ClientClaim::CertificateOnly(chain) => self.check_client_chain(chain),
                ClientClaim::WithKey(credentials) => self.check_client(credentials),
            })
            .or_else(|| observed_refusal(claim, seen, chain.is_empty()))
    }

    /// Check the chain of a server that a client reaches as `host`; returns the reason to refuse it.
    /// An empty chain is not refused.
    #[must_use]
    pub fn check_server(&self, host: &Host, chain: &[Certificate]) -> Option<RefusalCause> {
        let (leaf, error) = self.refused(chain, ExpectedPeer::Server(host))?;
        Some(RefusalCause::of_server_certificate(leaf, &error))
    }

    /// Check a client's credentials by the rules of a server; returns the reason to refuse them. A
    /// server with other trust anchors or CRLs may still refuse.
    #[must_use]
    pub fn check_client(&self, credentials: &ClientCredentials) -> Option<RefusalCause> {
        if !credentials.key_matches() {
            let message = "the private key is not the key of the certificate".to_owned();
            return Some(RefusalCause {
                side: AtFault::Client,
                code: Code::refused("explain.key_mismatch"),
                message,
            });
        }
        self.check_client_chain(&credentials.chain)
    }

    fn check_client_chain(&self, chain: &[Certificate]) -> Option<RefusalCause> {
        let (leaf, error) = self.refused(chain, ExpectedPeer::Client)?;
        let message = format!("your certificate ({}) is refused: {}", leaf.subject, reason(&error));
        Some(RefusalCause { side: AtFault::Client, code: error.coded(), message })
    }

    /// Leaf of `chain` and the first rule that the chain violates.
    fn refused<'c>(
        &self,
        chain: &'c [Certificate],
        expected: ExpectedPeer<'_>,
    ) -> Option<(&'c Certificate, PeerError)> {
        let (leaf, extra_certs) = chain.split_first()?;
        let extra_certs: Vec<_> = extra_certs.iter().map(|certificate| certificate.der.clone()).collect();
        let verified = self.chains.verify_peer(&leaf.der, &extra_certs, expected, self.at);
        verified.err().map(|error| (leaf, error))
    }
}

/// The refusal that the server itself reported, after every local check has passed.
fn observed_refusal(claim: ClientClaim<'_>, seen: &Observation, early: bool) -> Option<RefusalCause> {
    // 401 and 403 are the gateway's answers to an anonymous client.
    let demands = seen.requests_certificate
        && matches!(
            &seen.outcome,
            ConnectionOutcome::Responded(401 | 403) | ConnectionOutcome::Alert(_) | ConnectionOutcome::Closed
        );
    match (claim, &seen.outcome) {
        (ClientClaim::Anonymous, _) if demands => Some(of_server(
            Code::refused("explain.certificate_demanded"),
            "the server requires a client certificate, and none was given",
        )),
        (ClientClaim::CertificateOnly(_), _) if demands => None,
        (_, ConnectionOutcome::Alert(alert)) if early && !says_why(*alert) => Some(of_server(
            Code::refused("explain.refused_early"),
            &format!(
                "the server refused before it presented a certificate (alert {alert}): it may not serve this host name"
            ),
        )),
        (_, outcome) => outcome.cause(),
    }
}

impl ConnectionOutcome {
    /// The refusal that this outcome expresses, for a client that passed every local check; `None` if
    /// the server did not refuse.
    #[must_use]
    pub fn cause(&self) -> Option<RefusalCause> {
        match self {
            Self::Accepted | Self::Responded(_) => None,
            Self::Alert(alert) => Some(of_alert(*alert)),
            Self::Closed => Some(of_server(
                Code::refused("explain.closed"),
                "the server closed the connection without an alert",
            )),
            Self::NotTls => {
                Some(of_server(Code::refused("explain.not_tls"), "the service does not speak TLS"))
            }
            Self::ProtocolError(why) => Some(of_server(
                Code::refused("explain.broken"),
                &format!("the server violated the protocol: {why}"),
            )),
        }
    }
}

fn of_server(code: Code, message: &str) -> RefusalCause {
    RefusalCause { side: AtFault::Server, code, message: message.to_owned() }
}

/// handshake_failure, protocol_version, insufficient_security, unrecognized_name.
const fn says_why(alert: u8) -> bool {
    matches!(alert, 40 | 70 | 71 | 112)
}

/// The cause behind a server's alert (RFC 8446, section 6.2; RFC 6066 for 112).
fn of_alert(alert: u8) -> RefusalCause {
    let (code, message) = match alert {
        40 | 70 | 71 => (
            Code::refused("explain.no_common_tls"),
            "the server and this program have no TLS version or cipher suite in common",
        ),
        42 | 46 => {
            (Code::refused("explain.alert_bad_certificate"), "the server does not accept your certificate")
        }
        43 => (
            Code::refused("explain.alert_unsupported"),
            "the server does not support the type of your certificate",
        ),
        44 => (
            Code::refused("explain.alert_revoked"),
            "the server reports your certificate as revoked, but the CRL used here does not list it",
        ),
        45 => (
            Code::refused("explain.alert_expired"),
            "the server reports your certificate as expired, but by this machine's clock it is valid",
        ),
        48 => (
            Code::refused("explain.alert_unknown_ca"),
            "the server does not trust the root of your certificate",
        ),
        49 => (
            Code::refused("explain.alert_denied"),
            "the server recognizes your certificate and denies access",
        ),
        51 => (Code::refused("explain.alert_decrypt"), "the server could not verify your signature"),
        112 => (Code::refused("explain.alert_name"), "the server does not serve this host name"),
        116 => (Code::refused("explain.certificate_demanded"), "the server requires a client certificate"),
        _ => (Code::refused("explain.alert"), "the server refused with an alert"),
    };
    of_server(code, &format!("{message} (alert {alert})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Root, client, now};

    fn seen(chain: &[&[u8]], outcome: ConnectionOutcome) -> Observation {
        Observation {
            address: "127.0.0.1:4523".parse().unwrap(),
            chain: chain.iter().map(|der| Certificate::from_der(der)).collect(),
            requests_certificate: true,
            outcome,
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_parsed_is_the_cause() {
        let root = Root::new("root");
        let chains = ChainVerifier { trust: root.bundle(), revocation: None };
        let trust = TrustContext { chains: &chains, at: now() };
        let leaf = root.issue(&client(1));
        // Left out, the broken leaf would make its issuer the certificate of the server.
        let seen = seen(&[&leaf[..leaf.len() - 1], root.der()], ConnectionOutcome::Responded(200));
        let cause = trust.diagnose(&"127.0.0.1:4523".parse().unwrap(), ClientClaim::Anonymous, &seen);
        let cause = cause.unwrap();
        assert_eq!((cause.side, cause.code.name()), (AtFault::Server, "x509.malformed"));
        assert!(cause.message.starts_with("the server's certificate cannot be read: "), "{}", cause.message);
    }

    #[test]
    fn an_issuer_without_a_crl_is_reported_without_keys_of_the_gateway() {
        let issuer = Root::new("root").certificate().subject_key_identifier.unwrap();
        let expected = format!("there is no CRL of issuer {issuer}");
        assert_eq!(reason(&PeerError::NoCrl { issuer }), expected);
    }

    #[test]
    fn an_alert_before_the_certificate_is_about_the_host_name() {
        let chains = ChainVerifier { trust: Root::new("root").bundle(), revocation: None };
        let trust = TrustContext { chains: &chains, at: now() };
        let endpoint = "127.0.0.1:4523".parse().unwrap();
        let code = |alert| {
            let seen = seen(&[], ConnectionOutcome::Alert(alert));
            let claim = ClientClaim::CertificateOnly(&[]);
            trust.diagnose(&endpoint, claim, &Observation { requests_certificate: false, ..seen })
        };
        assert_eq!(code(112).unwrap().code.name(), "explain.alert_name");
        assert_eq!(code(80).unwrap().code.name(), "explain.refused_early");
        assert_eq!(code(70).unwrap().code.name(), "explain.no_common_tls");
    }
}
