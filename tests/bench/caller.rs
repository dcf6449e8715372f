//! A caller: TLS, one HTTP/1.1 request after the other, and sessions if it keeps them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Cluster, Leaf};

/// The root that a caller trusts.
#[derive(Clone)]
pub(crate) struct Root(CertificateDer<'static>);

impl Root {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self(cluster.root.der().clone())
    }
}

impl From<&Cluster> for Root {
    fn from(cluster: &Cluster) -> Self {
        Self::of(cluster)
    }
}

impl From<&Self> for Root {
    fn from(root: &Self) -> Self {
        root.clone()
    }
}

/// What a caller does with the tickets that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    Tickets,
}

/// The sessions of a caller; counts the tickets whether or not they are kept.
#[derive(Debug)]
pub(crate) struct Sessions {
    keep: Keep,
    tickets: Mutex<(usize, Option<Tls13ClientSessionValue>)>,
}

impl Sessions {
    pub(crate) fn new(keep: Keep) -> Arc<Self> {
        Arc::new(Self { keep, tickets: Mutex::default() })
    }

    pub(crate) fn none() -> Arc<Self> {
        Self::new(Keep::Nothing)
    }

    fn count(&self) -> usize {
        self.tickets.lock().unwrap().0
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets.lock().unwrap();
        tickets.0 += 1;
        tickets.1 = (self.keep == Keep::Tickets).then_some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets.lock().unwrap().1.take()
    }
}

/// How a caller with this certificate speaks TLS.
pub(crate) fn config(root: impl Into<Root>, leaf: &Leaf, sessions: Arc<Sessions>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.into().0).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(leaf.chain.clone(), leaf.key())
            .unwrap();
    config.resumption = Resumption::store(sessions);
    config
}

pub(crate) struct Caller {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

impl Caller {
    pub(crate) async fn connect(
        address: SocketAddr,
        root: impl Into<Root>,
        leaf: &Leaf,
        sessions: Arc<Sessions>,
    ) -> Self {
        Self::connect_with(address, Arc::new(config(root, leaf, sessions))).await
    }

    pub(crate) async fn connect_with(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Waits for the ticket of this connection, which is the end of its handshake on the other side.
    pub(crate) async fn ticket(&mut self, sessions: &Sessions) {
        let before = sessions.count();
        std::future::poll_fn(|cx| {
            let mut some = [0; 1];
            let mut buffer = tokio::io::ReadBuf::new(&mut some);
            let read = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut self.stream), cx, &mut buffer);
            assert!(read.is_pending(), "nothing was asked for");
            match sessions.count() > before {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &[u8]) {
        let length = body.len();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {length}\r\n\r\n")
                .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await.unwrap();
    }

    /// The next response; `None` where the connection ends before its end.
    pub(crate) async fn answer(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.received).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    self.received.clear();
                    return Some(text);
                }
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(1..) => {}
                _ => return None,
            }
        }
    }

    /// Whether a GET is answered with 200.
    pub(crate) async fn is_answered(&mut self, path: &str) -> bool {
        self.send("GET", path, b"").await;
        self.answer().await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) {
        let _ = self.stream.read_to_end(&mut self.received).await;
    }
}
