//! TCP keepalive towards clients and upstreams.

use std::time::Duration;

use socket2::TcpKeepalive;

/// How a machine that is gone without a word is noticed, after two minutes (RFC 9293, section 3.8.4): a
/// response that waits for news, or a tunnel, would stay open for it until something is to be sent.
pub const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
