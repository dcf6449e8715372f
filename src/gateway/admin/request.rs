//! Requests on the admin socket.

use serde::{Deserialize, Serialize};

use crate::x509::{SerialNumber, X509Error};

/// Where the socket is, where nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/cluster-gateway.sock";

/// The longest request.
pub(super) const LONGEST_REQUEST: u64 = 4_096;

/// What a gateway can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Ends the open connections under the certificate of this number.
    Close {
        /// Its serial number, as it is written everywhere.
        serial_number: String,
    },
    /// The last handshakes that let nobody in.
    Rejected,
    /// Loads everything again.
    Reload,
    /// The open connections.
    Sessions,
    /// How it is.
    Status,
}

impl Request {
    /// To close the connections under the certificate of this number.
    ///
    /// # Errors
    /// [`X509Error`] when it is no serial number.
    pub fn close(serial_number: &str) -> Result<Self, X509Error> {
        let serial_number: SerialNumber = serial_number.parse()?;
        Ok(Self::Close { serial_number: serial_number.to_string() })
    }
}
