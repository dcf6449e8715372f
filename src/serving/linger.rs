//! End of a refused connection: the client gets time to read the alert.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time that a refused client gets to read the alert.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes that are discarded at once while a refused client reads the alert, and how often. A ClientHello that is too
/// long has more than 64 KiB.
const LINGER_READ: usize = 16 << 10;
const MAX_LINGER_READS: usize = 64;

/// Close a connection so that the alert arrives: closing with unread bytes sends a reset, which can
/// overtake the alert.
pub(crate) async fn linger(mut stream: TcpStream) {
    let _ = timeout(LINGER_TIMEOUT, async {
        stream.shutdown().await?;
        let mut discarded = vec![0; LINGER_READ];
        for _ in 0..MAX_LINGER_READS {
            if stream.read(&mut discarded).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    })
    .await;
}
