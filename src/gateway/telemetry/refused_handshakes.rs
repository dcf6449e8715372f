//! The last handshakes that let nobody in, kept in memory: what an operator looks at when a caller says
//! that it cannot connect.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::gateway::telemetry::events::{HandshakeRefused, Timestamp};
use crate::x509::pem::pem;

/// How many are kept.
const KEPT: usize = 100;

/// The last of them.
#[derive(Debug, Default)]
pub struct RefusedHandshakes(Mutex<VecDeque<(Timestamp, HandshakeRefused)>>);

/// A refused handshake, as it is shown.
#[derive(Debug, Serialize)]
pub struct Rejection {
    time: Timestamp,
    #[serde(flatten)]
    refused: HandshakeRefused,
    /// The certificate that was presented, PEM.
    certificate: Option<String>,
}

impl RefusedHandshakes {
    /// Keeps one, in the place of the oldest.
    pub fn keep(&self, time: Timestamp, refused: HandshakeRefused) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((time, refused));
    }

    /// All that are kept, the last one first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Rejection> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = |(time, refused): (Timestamp, HandshakeRefused)| Rejection {
            certificate: refused.certificate.as_ref().map(|der| pem("CERTIFICATE", der)),
            time,
            refused,
        };
        kept.into_iter().rev().map(shown).collect()
    }
}
