//! Fake gateways: TLS servers with arbitrary answers.

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

/// Behaviour on a connection.
type Behaviour = Arc<dyn Fn(TcpStream) + Send + Sync>;

/// Fake gateway that listens until the end of the test.
pub(crate) struct Fake {
    pub(crate) address: String,
}

impl Fake {
    /// Run `behaviour` on every TCP connection.
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

    /// Speak TLS with the issued pair `stem` of `home`, and give `answer` to the first line of each
    /// request; then close.
    pub(crate) fn serving(
        home: &Home,
        stem: &str,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::holding(home, stem, answers(answer))
    }

    /// Like `serving`, limited to TLS 1.2.
    pub(crate) fn of_old(
        home: &Home,
        stem: &str,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::speaking(&[&rustls::version::TLS12], home, stem, answers(answer))
    }

    /// Speak TLS with the issued pair `stem` of `home`, and run `behaviour` in it.
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
        // Any certificate with any key.
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

/// Give `answer` to each request, then close.
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

/// Read one request and return its first line; `None` at the end.
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

/// Response with a JSON body.
pub(crate) fn json(status: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
