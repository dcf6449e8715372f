//! Why a connection is refused: what was seen, judged in a fixed order, the likeliest cause first.

use rustls_pki_types::ServerName;
use serde::Serialize;
use time::OffsetDateTime;

use super::endpoint::Endpoint;
use super::look::Observation;
use super::outcome::End;
use super::tls_client::Caller;
use crate::identity::Host;
use crate::revocation::{RevocationSet, Standing};
use crate::x509::Certificate;
use crate::x509::trust::{self, ChainError, Purpose, TrustBundle};

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The certificate or key of the caller.
    Caller,
    /// The certificate or the configuration of the server.
    Server,
}

/// The cause of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Whose fault it is.
    pub side: Side,
    /// The stable code of it.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

/// As whom a connection was made, or would be.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// Somebody without a certificate.
    Nobody,
    /// The owner of a certificate, whose key is not here: the connection was made without either.
    Unproved(&'a [Certificate]),
    /// The owner of a certificate and its key.
    Proved(&'a Caller),
}

/// What to judge by.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The roots that both sides should trust.
    pub bundle: &'a TrustBundle,
    /// The revocation lists, where there are any.
    pub crls: Option<&'a RevocationSet>,
    /// When.
    pub at: OffsetDateTime,
}

impl Judge<'_> {
    /// Why the connection would be or was refused; none when it works.
    #[must_use]
    pub fn explain(&self, endpoint: &Endpoint, claim: Claim<'_>, seen: &Observation) -> Option<Cause> {
        if seen.end == End::NotTls {
            return seen.end.cause();
        }
        // A real caller looks at the server first, and goes no further when it does not like it.
        self.server(&endpoint.host, &seen.chain)
            .or_else(|| match claim {
                Claim::Nobody => None,
                Claim::Unproved(chain) => self.certificate(chain),
                Claim::Proved(caller) => self.caller(caller),
            })
            .or_else(|| self.what_the_server_said(claim, seen))
    }

    /// Why a caller of `host` refuses the chain that a server presents; none when it does not, or when
    /// there is no chain.
    #[must_use]
    pub fn server(&self, host: &Host, chain: &[Certificate]) -> Option<Cause> {
        let leaf = chain.first()?;
        let refused = |code, why: &dyn std::fmt::Display| Cause {
            side: Side::Server,
            code,
            message: format!("the server's certificate ({}) is refused: {why}", leaf.subject),
        };
        if let Some((code, why)) = self.refusal(chain, Purpose::Server) {
            return Some(refused(code, &why));
        }
        let name = match host {
            Host::Ip(ip) => Some(ServerName::from(*ip)),
            Host::Dns(name) => ServerName::try_from(name.clone()).ok(),
        };
        let named = name.map_or(Err(ChainError::WrongName), |name| trust::verify_host(&leaf.der, &name));
        named.err().map(|error| refused(error.code(), &format_args!("{error} {host}")))
    }

    /// Why servers refuse a caller, as far as can be told from here.
    #[must_use]
    pub fn caller(&self, caller: &Caller) -> Option<Cause> {
        if !caller.keys_match() {
            let message = "the private key is not the key of the certificate".to_owned();
            return Some(Cause { side: Side::Caller, code: "explain.key_mismatch", message });
        }
        self.certificate(&caller.chain)
    }

    /// Why servers refuse a caller's certificate, whoever has its key.
    fn certificate(&self, chain: &[Certificate]) -> Option<Cause> {
        let leaf = chain.first()?;
        let (code, why) = self.refusal(chain, Purpose::Client)?;
        let message = format!("your certificate ({}) is refused: {why}", leaf.subject);
        Some(Cause { side: Side::Caller, code, message })
    }

    /// Why a chain does not hold here and now.
    fn refusal(&self, chain: &[Certificate], purpose: Purpose) -> Option<(&'static str, String)> {
        let (leaf, intermediates) = chain.split_first()?;
        let intermediates: Vec<_> = intermediates.iter().map(|certificate| certificate.der.clone()).collect();
        let verified = match self.bundle.verify(&leaf.der, &intermediates, purpose, self.at) {
            Ok(verified) => verified,
            Err(error) => return Some((error.code(), error.to_string())),
        };
        match self.crls.map(|crls| crls.standing(&verified, self.at)) {
            None | Some(Standing::Good) => None,
            Some(standing) => Some((standing.code(), standing.to_string())),
        }
    }

    /// Nothing is wrong as far as can be seen from here: what is left is the server's own word.
    fn what_the_server_said(&self, claim: Claim<'_>, seen: &Observation) -> Option<Cause> {
        // What a server says to a caller without a certificate; 401 and 403 are the gateway's own answers.
        let demands = seen.asks_for_certificate
            && matches!(&seen.end, End::Answered(401 | 403) | End::Alert(_) | End::Closed);
        match (claim, &seen.end) {
            (Claim::Nobody, _) if demands => Some(server(
                "explain.certificate_demanded",
                "the server demands a client certificate, and none was given",
            )),
            (Claim::Unproved(_), _) if demands => None,
            (_, End::Alert(alert)) if seen.chain.is_empty() && !is_about_versions(*alert) => Some(server(
                "explain.refused_early",
                &format!(
                    "the server refused before it showed a certificate (alert {alert}): it may not know the name that it was called by"
                ),
            )),
            (_, end) => end.cause(),
        }
    }
}

impl End {
    /// Why it ended so, in the server's own word, for a caller with whom nothing is wrong here; none when
    /// it did not refuse.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Alert(alert) => Some(alerted(*alert)),
            Self::Answered(_) | Self::Open => None,
            Self::Broken(why) => {
                Some(server("explain.broken", &format!("the server broke the protocol: {why}")))
            }
            Self::Closed => Some(server("explain.closed", "the server closed the connection without a word")),
            Self::NotTls => Some(server("explain.not_tls", "what answers does not speak TLS")),
        }
    }
}

fn server(code: &'static str, message: &str) -> Cause {
    Cause { side: Side::Server, code, message: message.to_owned() }
}

/// handshake_failure, protocol_version, insufficient_security.
const fn is_about_versions(alert: u8) -> bool {
    matches!(alert, 40 | 70 | 71)
}

/// A server's alert (RFC 8446, section 6.2) about a caller with whom nothing is wrong here.
fn alerted(alert: u8) -> Cause {
    let (code, said) = match alert {
        40 | 70 | 71 => {
            ("explain.no_common_tls", "the server and this program have no version or suite of TLS in common")
        }
        42 | 46 => {
            ("explain.alert_bad_certificate", "the server says that your certificate is not acceptable")
        }
        43 => ("explain.alert_unsupported", "the server does not support the kind of your certificate"),
        44 => (
            "explain.alert_revoked",
            "the server says that your certificate is revoked, and the list here does not",
        ),
        45 => (
            "explain.alert_expired",
            "the server says that your certificate expired, and by the clock here it has not",
        ),
        48 => ("explain.alert_unknown_ca", "the server does not trust the root of your certificate"),
        49 => ("explain.alert_denied", "the server knows your certificate and does not let you in"),
        51 => ("explain.alert_decrypt", "the server could not verify your signature"),
        112 => ("explain.alert_name", "the server does not know the name that it was called by"),
        116 => ("explain.certificate_demanded", "the server demands a client certificate"),
        _ => ("explain.alert", "the server refused with an alert"),
    };
    server(code, &format!("{said} (alert {alert})"))
}
