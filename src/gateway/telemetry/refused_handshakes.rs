//! Most recent refused handshakes, in memory, for operators who diagnose a client that cannot connect.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::gateway::telemetry::events::{HandshakeRefused, Timestamp};
use crate::x509::pem::pem;

/// Number of handshakes kept.
const KEPT: usize = 100;

/// Most recent refused handshakes.
#[derive(Debug, Default)]
pub struct RefusedHandshakes(Mutex<VecDeque<(Timestamp, HandshakeRefused)>>);

/// Refused handshake as listed on the admin socket.
#[derive(Debug, Serialize)]
pub struct RefusedHandshake {
    time: Timestamp,
    #[serde(flatten)]
    refused: HandshakeRefused,
    /// Presented certificate, PEM.
    certificate: Option<String>,
}

impl RefusedHandshakes {
    /// Add a handshake, and drop the oldest one if there are 100.
    pub fn keep(&self, time: Timestamp, refused: HandshakeRefused) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((time, refused));
    }

    /// All handshakes kept, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<RefusedHandshake> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listed = |(time, refused): (Timestamp, HandshakeRefused)| RefusedHandshake {
            certificate: refused.certificate.as_ref().map(|der| pem("CERTIFICATE", der)),
            time,
            refused,
        };
        kept.into_iter().rev().map(listed).collect()
    }
}
