//! TCP keepalive of the connections to clients and upstreams.

use std::time::Duration;

use socket2::TcpKeepalive;

/// Probe that detect a vanished host after two minutes (RFC 9293, section 3.8.4). Without them, a tunnel or
/// a response that waits for data stays open until the process has something to send.
pub const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
