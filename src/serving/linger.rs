//! End of a refused connection: the client gets time to read the alert.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Time that a refused client gets to read the alert.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_millis(500);

/// Look for the reset of a client that closed before the alert reached it, and their interval: together longer than
/// a round trip to a health check.
const RESET_LOOKS: usize = 10;
const RESET_INTERVAL: Duration = Duration::from_millis(2);

/// Bytes that are discarded at once while a refused client reads the alert, and how often. A ClientHello that is too
/// long has more than 64 KiB.
const LINGER_READ: usize = 16 << 10;
const MAX_LINGER_READS: usize = 64;

/// Fate of an alert, as far as TCP shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertReceipt {
    /// No sign that the client left the alert unread.
    Unknown,
    /// The client closed its socket without reading the alert: its system answers with a reset (RFC 9293, section
    /// 3.6.1).
    Reset,
}

/// Close a connection so that the alert arrives: closing with unread bytes sends a reset, which can
/// overtake the alert.
pub(crate) async fn linger(mut stream: TcpStream) -> AlertReceipt {
    // The stream of tokio would not tell that the connection is reset already (ENOTCONN).
    if SockRef::from(&stream).shutdown(Shutdown::Write).is_err() {
        return AlertReceipt::Reset;
    }
    let read_to_end = timeout(LINGER_TIMEOUT, async {
        let mut discarded = vec![0; LINGER_READ];
        for _ in 0..MAX_LINGER_READS {
            if stream.read(&mut discarded).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    });
    let is_reset = match read_to_end.await {
        // A client that closed before the alert reached it has sent FIN; the reset follows within a round trip.
        Ok(Ok(())) => is_reset(&stream).await,
        Ok(Err(_)) => true,
        Err(_) => false,
    };
    if is_reset { AlertReceipt::Reset } else { AlertReceipt::Unknown }
}

/// Wait for a reset after the end of the client's side.
async fn is_reset(stream: &TcpStream) -> bool {
    for _ in 0..RESET_LOOKS {
        if !matches!(stream.take_error(), Ok(None)) {
            return true;
        }
        sleep(RESET_INTERVAL).await;
    }
    false
}
