//! Failed handshakes as stable codes.

use std::io;

use rustls::{AlertDescription, Error};

/// Code and text for a handshake that failed for another reason than the client's certificate.
#[must_use]
pub fn handshake_failure(error: &io::Error) -> (&'static str, String) {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ("tls.closed", "the client closed the connection during the handshake".to_owned())
            }
            _ => ("tls.connection", error.to_string()),
        };
    };
    let code = match cause {
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            "tls.own_certificate_refused"
        }
        Error::AlertReceived(_) => "tls.alert_received",
        // rustls says so when our certificate resolver returns none, which has this reason only.
        Error::General(text) if text == "no server certificate chain resolved" => {
            return (
                "tls.unknown_server_name",
                "the gateway's certificate does not have the requested server name".to_owned(),
            );
        }
        Error::InvalidMessage(_) => "tls.malformed",
        Error::NoCertificatesPresented => "certificate.missing",
        Error::PeerIncompatible(_) => "tls.incompatible",
        Error::PeerMisbehaved(_) => "tls.misbehaved",
        Error::InvalidCertificate(_) => "certificate.proof",
        _ => "tls.failed",
    };
    (code, cause.to_string())
}
