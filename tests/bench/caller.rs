//! Callers: TLS, one request after the other over HTTP/1.1 or HTTP/2, and sessions if they keep them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
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
    config_of(root.into().0, leaf.chain.clone(), leaf.key(), sessions)
}

/// How a caller with this certificate chain and key speaks TLS.
pub(crate) fn config_of(
    root: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    sessions: Arc<Sessions>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
    config.resumption = Resumption::store(sessions);
    config
}

/// What callers say they are.
const AGENT: &str = "client/1.0 (linux)";

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

    /// A GET as a client library sends it, and its answer, which must be 200.
    pub(crate) async fn get(&mut self, path: &str) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gateway\r\nuser-agent: {AGENT}\r\naccept: application/json\r\n\
             accept-encoding: gzip\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let answer = self.answer().await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    /// The same, with a body of any length, which is not kept.
    pub(crate) async fn fetch(&mut self, path: &str) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gateway\r\nuser-agent: {AGENT}\r\naccept: application/json\r\n\
             accept-encoding: gzip\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.read_and_drop().await;
    }

    /// A POST with this body, whose answer must be 200.
    pub(crate) async fn upload(&mut self, path: &str, body: &[u8]) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nuser-agent: {AGENT}\r\naccept: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
        // What TLS has not sent yet would stay in its buffer.
        self.stream.flush().await.unwrap();
        self.read_and_drop().await;
    }

    async fn read_and_drop(&mut self) {
        self.received.clear();
        self.received.reserve(64 << 10);
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.stream.read_buf(&mut self.received).await.unwrap() > 0, "the connection ends");
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut left = length.trim().parse::<usize>().unwrap() + end - self.received.len();
        while left > 0 {
            self.received.clear();
            let read = self.stream.read_buf(&mut self.received).await.unwrap();
            assert!(read > 0, "the connection ends");
            left -= read;
        }
        self.received.clear();
    }

    /// Announces the end of the connection, and does not wait for that of the other side.
    pub(crate) async fn shutdown(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Closes the connection as TLS wants it, and waits until the other side has closed it, too.
    pub(crate) async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
        self.ended().await;
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&mut self) {
        let _ = self.stream.read_to_end(&mut self.received).await;
    }
}

/// A caller over HTTP/2.
pub(crate) struct H2Caller {
    sender: SendRequest<Empty<Bytes>>,
}

impl H2Caller {
    pub(crate) async fn connect(address: SocketAddr, mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// A GET as a client library sends it, and its answer, which must be 200.
    pub(crate) async fn get(&mut self, path: &str) {
        let request = http::Request::get(format!("https://gateway{path}"))
            .header("user-agent", AGENT)
            .header("accept", "application/json")
            .header("accept-encoding", "gzip")
            .body(Empty::new())
            .unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
    }
}
