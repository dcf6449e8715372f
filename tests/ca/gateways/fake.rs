//! What listens where a gateway should, and answers as it likes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use cluster_ca::keys::PrivateKey;
use cluster_ca::x509::pem;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::home::Home;

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// What it does with a connection.
type Behaviour = Arc<dyn Fn(TcpStream) + Send + Sync>;

/// Listens until the test is over.
pub(crate) struct Fake {
    pub(crate) address: String,
}

impl Fake {
    /// Does `behaviour` with every connection.
    pub(crate) fn raw(behaviour: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let behaviour: Behaviour = Arc::new(behaviour);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let behaviour = Arc::clone(&behaviour);
                thread::spawn(move || behaviour(stream));
            }
        });
        Self { address: address.to_string() }
    }

    /// Speaks TLS with the issued pair `stem` of `home`, and says what `answer` says to each request, by
    /// its first line; then it closes.
    pub(crate) fn serving(
        home: &Home,
        stem: &str,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::holding(home, stem, answers(answer))
    }

    /// The same with TLS 1.2 and nothing newer.
    pub(crate) fn of_old(
        home: &Home,
        stem: &str,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::speaking(&[&rustls::version::TLS12], home, stem, answers(answer))
    }

    /// Speaks TLS with the issued pair `stem` of `home`, and does `behaviour` within it.
    pub(crate) fn holding(home: &Home, stem: &str, behaviour: impl Fn(Tls) + Send + Sync + 'static) -> Self {
        Self::speaking(rustls::ALL_VERSIONS, home, stem, behaviour)
    }

    fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        home: &Home,
        stem: &str,
        behaviour: impl Fn(Tls) + Send + Sync + 'static,
    ) -> Self {
        let path = |end: &str| home.path(format!("issued/{stem}.{end}"));
        let chain = pem::certificates(&std::fs::read(path("crt")).expect("a certificate"));
        let chain = chain.expect("a certificate").into_iter().map(|certificate| certificate.der).collect();
        let key = PrivateKey::open(&path("key")).expect("a key").to_pkcs8().expect("PKCS#8");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key)).expect("a key");
        // Whatever it is told to present, with whatever key.
        let presented = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(presented));
        let config = Arc::new(config);
        Self::raw(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            behaviour(StreamOwned::new(connection, stream));
        })
    }
}

/// Says what `answer` says to each request; then it closes.
fn answers(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> impl Fn(Tls) + Send + Sync + 'static {
    move |mut tls| {
        while let Some(line) = request(&mut tls) {
            let bytes = answer(&line);
            let said = tls.write_all(&bytes).and_then(|()| tls.flush());
            if bytes.is_empty() || said.is_err() {
                break;
            }
        }
    }
}

/// Reads one request and gives its first line; none when there is no further one.
pub(crate) fn request(tls: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match tls.read(&mut byte) {
            Ok(1) => head.extend(byte),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).expect("a head of ASCII");
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    tls.read_exact(&mut body).ok()?;
    head.lines().next().map(str::to_owned)
}

/// An answer with a JSON body.
pub(crate) fn json(status: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
