//! Requests on the admin socket.

use serde::{Deserialize, Serialize};

use crate::x509::{SerialNumber, X509Error};

/// Default path of the admin socket.
pub const DEFAULT_SOCKET: &str = "/run/cluster-gateway.sock";

/// Maximum length of a request.
pub(super) const MAX_REQUEST_BYTES: u64 = 4_096;

/// Request on the admin socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Close the open connections of one certificate.
    Close {
        /// Serial number of the certificate, in hexadecimal.
        serial_number: String,
    },
    /// List the last refused handshakes.
    Rejected,
    /// Reload the configuration and all its files.
    Reload,
    /// List the open connections.
    Sessions,
    /// Report the status.
    Status,
}

impl AdminRequest {
    /// Create a request to close the connections of the certificate with this serial number.
    ///
    /// # Errors
    /// [`X509Error`] for an invalid serial number.
    pub fn close(serial_number: &str) -> Result<Self, X509Error> {
        let serial_number: SerialNumber = serial_number.parse()?;
        Ok(Self::Close { serial_number: serial_number.to_string() })
    }
}
