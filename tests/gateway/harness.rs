//! A gateway in this process, and callers for it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cluster_ca::clock::{Clock, SystemClock, SystemEntropy};
use cluster_ca::error::Coded;
use cluster_ca::gateway::config::Config;
use cluster_ca::gateway::process::demo_upstream;
use cluster_ca::gateway::{Gateway, GatewayError, Options, Running};
use cluster_ca::mtls::keys::KeyOpener;
use cluster_ca::serving::line_log::Destination;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Cluster, Leaf};
use crate::eventually::{PATIENCE, eventually};

/// The node that the tests call by.
pub(crate) const NODE: &str = "3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11";

const ROUTES: &str = r#"
  - { path: "/v1/nodes/{name}/**", methods: [GET, PUT], allow: [{ role: node-agent, name: "{name}" }], upstream: api }
  - { path: "/v1/**", methods: [GET, HEAD, POST, PUT, DELETE], allow: [{ role: api-user }, { role: control-service }], upstream: api }
"#;

/// What a gateway is made of, before it starts.
pub(crate) struct Setup {
    pub(crate) cluster: Cluster,
    /// What is in `cluster.crl`; `None` leaves the file away.
    pub(crate) crl: Option<String>,
    /// The gateway's certificate.
    pub(crate) own: Leaf,
    /// Where the requests go; `None` is the echo service.
    pub(crate) upstream: Option<SocketAddr>,
    /// More lines of the upstream's configuration.
    pub(crate) upstream_options: &'static str,
    /// More lines of the configuration.
    pub(crate) more: &'static str,
    /// More keys of `identity`, each after a comma.
    pub(crate) identity: &'static str,
    /// Where it listens.
    pub(crate) listen: &'static str,
    /// The keys of `trust` beside the bundle.
    pub(crate) trust: String,
    pub(crate) routes: &'static str,
    /// More files, with what is in them.
    pub(crate) files: Vec<(&'static str, String)>,
    /// The same for files that nobody else may read.
    pub(crate) private_files: Vec<(&'static str, String)>,
    pub(crate) threads: usize,
    /// What is in `cluster.crt`; without it, the root of `cluster`.
    pub(crate) bundle: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::new("prod");
        Self {
            crl: Some(cluster.crl(1, &[])),
            own: cluster.leaf("control-service", "127.0.0.1"),
            cluster,
            upstream: None,
            upstream_options: "",
            more: "",
            identity: "",
            listen: "127.0.0.1:0",
            trust: "crl: cluster.crl".to_owned(),
            routes: ROUTES,
            files: Vec::new(),
            private_files: Vec::new(),
            threads: 2,
            bundle: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Requests go to `upstream`.
    pub(crate) fn in_front_of(upstream: SocketAddr) -> Self {
        Self { upstream: Some(upstream), ..Self::new() }
    }

    /// Writes every file into `directory`; the configuration is `gateway.yaml`.
    pub(crate) fn write(&self, directory: &std::path::Path) {
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        write("cluster.crt", self.bundle.as_ref().unwrap_or(&self.cluster.bundle()));
        if let Some(crl) = &self.crl {
            write("cluster.crl", crl);
        }
        self.files.iter().for_each(|(name, text)| write(name, text));
        for (name, text) in &self.private_files {
            write_private(&directory.join(name), text);
        }
        self.own.write(directory, "gateway");
        std::fs::create_dir_all(directory.join("state")).unwrap();
        let upstream = self.upstream.unwrap_or_else(|| demo_upstream::start().unwrap());
        write(
            "gateway.yaml",
            &format!(
                "listen: {}\n\
                 identity: {{ certificate: gateway.crt, key: gateway.key{} }}\n\
                 trust: {{ bundle: cluster.crt, {} }}\n\
                 upstreams:\n  api: {{ url: \"http://{upstream}\"{} }}\n\
                 threads: {}\n{}\nroutes:{}",
                self.listen,
                self.identity,
                self.trust,
                self.upstream_options,
                self.threads,
                self.more,
                self.routes
            ),
        );
    }

    /// Starts it.
    pub(crate) fn start(self) -> TestGateway {
        self.try_start().map_err(|failed| failed.0).expect("the gateway starts")
    }

    /// Starts it, or gives the reason with its whole chain of causes.
    pub(crate) fn try_start(self) -> Result<TestGateway, Box<(GatewayError, String)>> {
        let directory = tempfile::tempdir().unwrap();
        self.write(directory.path());
        TestGateway::of(self.cluster, self.clock, directory)
    }
}

/// Writes a file that nobody else may read.
pub(crate) fn write_private(path: &std::path::Path, contents: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An error with its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A client of a gateway of `cluster`; it presents whatever it is told to, with whatever key.
pub(crate) fn client_config(
    cluster: &Cluster,
    leaf: Option<&Leaf>,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(cluster.root.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match leaf {
        Some(leaf) => {
            let key = provider.key_provider.load_private_key(leaf.key()).unwrap();
            let presented = SingleCertAndKey::from(CertifiedKey::new(leaf.chain.clone(), key));
            builder.with_client_cert_resolver(Arc::new(presented))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A gateway that runs until it is dropped.
pub(crate) struct TestGateway {
    pub(crate) cluster: Cluster,
    pub(crate) address: SocketAddr,
    running: Option<Running>,
    clock: Arc<dyn Clock>,
    log: Lines,
    directory: Option<tempfile::TempDir>,
}

impl TestGateway {
    /// The usual one, in front of the echo service.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    fn of(
        cluster: Cluster,
        clock: Arc<dyn Clock>,
        directory: tempfile::TempDir,
    ) -> Result<Self, Box<(GatewayError, String)>> {
        let config = Config::load(&directory.path().join("gateway.yaml")).expect("a good configuration");
        let log = Lines::default();
        let options = Options {
            clock: Arc::clone(&clock),
            entropy: Arc::new(SystemEntropy),
            access_log: Some(Box::new(log.clone())),
            every_upstream: None,
            key_opener: KeyOpener::new(Arc::clone(&clock)),
        };
        let running = Gateway::start(&config, options).map_err(|error| {
            let text = words(&error);
            Box::new((error, text))
        })?;
        let address = running.addresses()[0];
        Ok(Self { cluster, address, clock, running: Some(running), log, directory: Some(directory) })
    }

    /// Another process with the same files, after this one.
    pub(crate) fn restart(self) -> Self {
        self.try_restart().map_err(|failed| failed.0).expect("the gateway starts again")
    }

    /// The same, or why it does not start.
    pub(crate) fn try_restart(mut self) -> Result<Self, Box<(GatewayError, String)>> {
        let running = self.running.take().unwrap();
        running.stop();
        running.join().unwrap();
        let cluster = std::mem::replace(&mut self.cluster, Cluster::new("gone"));
        Self::of(cluster, Arc::clone(&self.clock), self.directory.take().unwrap())
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> Value {
        serde_json::to_value(self.running().status()).unwrap()
    }

    /// Waits until this CRL is in force.
    pub(crate) fn wait_for_crl(&self, number: u64) {
        let number = Value::from(number.to_string());
        eventually("the CRL is in force", || (self.status()["crl"][0]["number"] == number).then_some(()));
    }

    /// Waits until it has put another state in force than that of `generation`.
    pub(crate) fn wait_for_change(&self, generation: u64) {
        eventually("a new state", || (self.status()["generation"] != generation).then_some(()));
    }

    /// Loads everything again; the code of the error when that fails, and then nothing but CRLs has changed.
    pub(crate) fn reload(&self) -> Result<(), &'static str> {
        let before = self.status();
        let result = self.running().reload().map_err(|error| error.code());
        let after = self.status();
        let kept = before["generation"] == after["generation"];
        let crls = |status: &Value| -> Vec<Value> {
            status["crl"].as_array().into_iter().flatten().map(|crl| crl["sha256"].clone()).collect()
        };
        let watched = |status: &Value| status["reload"]["results"]["file_change"].clone();
        if watched(&before) != watched(&after) {
            // The file watch has reloaded meanwhile, what a test wrote before.
            return result;
        }
        assert_eq!(kept, result.is_err() && crls(&before) == crls(&after), "{before} {after}");
        if let Err(code) = result {
            assert_eq!(after["reload"]["last_error"]["code"], code, "{after}");
        }
        result
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.as_ref().unwrap().path()
    }

    /// The path of one of its files.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory().join(name)
    }

    /// Replaces one of its files in one step, as our own tools do.
    pub(crate) fn replace(&self, name: &str, contents: impl AsRef<[u8]>) {
        let fresh = self.path(&format!(".{name}.tmp"));
        std::fs::write(&fresh, contents).unwrap();
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    /// The same for a file that nobody else may read.
    pub(crate) fn replace_private(&self, name: &str, contents: &str) {
        let fresh = self.path(&format!(".{name}.tmp"));
        write_private(&fresh, contents);
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    /// Waits until it has stopped by itself.
    pub(crate) fn join(&mut self) {
        self.try_join().expect("no part of it panicked");
    }

    /// The same, for one that may have had to.
    pub(crate) fn try_join(&mut self) -> Result<(), GatewayError> {
        self.running.take().unwrap().join()
    }

    pub(crate) fn user(&self) -> Leaf {
        self.cluster.leaf("api-user", "alice")
    }

    pub(crate) fn node(&self) -> Leaf {
        self.cluster.leaf("node-agent", NODE)
    }

    /// The first line of the access log with this event that `is_it`.
    pub(crate) fn line(&self, event: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a line with the event {event}"), || {
            self.lines().into_iter().find(|line| line["event"] == event && is_it(line))
        })
    }

    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let bytes = self.log.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The reason that the access log has for the only refused handshake.
    pub(crate) fn refusal(&self) -> String {
        self.line("handshake_refused", |_| true)["reason"].as_str().unwrap().to_owned()
    }

    /// A TLS connection, which in TLS 1.3 stands before the gateway has judged the certificate.
    pub(crate) async fn connect(&self, leaf: Option<&Leaf>, alpn: &[&str]) -> io::Result<Tls> {
        self.connect_with(leaf, alpn, rustls::DEFAULT_VERSIONS).await
    }

    pub(crate) async fn connect_with(
        &self,
        leaf: Option<&Leaf>,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> io::Result<Tls> {
        let config = self.client_config(leaf, alpn, versions);
        self.connect_as(config, ServerName::from(self.address.ip())).await
    }

    /// A TLS connection to the host of this name.
    pub(crate) async fn connect_named(
        &self,
        leaf: Option<&Leaf>,
        alpn: &[&str],
        name: &str,
    ) -> io::Result<Tls> {
        let config = self.client_config(leaf, alpn, rustls::DEFAULT_VERSIONS);
        self.connect_as(config, ServerName::try_from(name.to_owned()).unwrap()).await
    }

    /// A TLS connection from another address of this machine.
    pub(crate) async fn connect_from(&self, from: &str, leaf: &Leaf) -> io::Result<Tls> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
        let stream = patiently(socket.connect(self.address)).await?;
        let config = self.client_config(Some(leaf), &["http/1.1"], rustls::DEFAULT_VERSIONS);
        self.connect_over(stream, config, ServerName::from(self.address.ip())).await
    }

    /// A TLS connection as `config` has it.
    pub(crate) async fn connect_as(
        &self,
        config: ClientConfig,
        name: ServerName<'static>,
    ) -> io::Result<Tls> {
        let stream = TcpStream::connect(self.address).await?;
        self.connect_over(stream, config, name).await
    }

    /// A TLS connection over this one.
    pub(crate) async fn connect_over(
        &self,
        stream: TcpStream,
        config: ClientConfig,
        name: ServerName<'static>,
    ) -> io::Result<Tls> {
        stream.set_nodelay(true)?;
        patiently(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }

    /// How a caller speaks TLS; it presents whatever it is told to, with whatever key.
    pub(crate) fn client_config(
        &self,
        leaf: Option<&Leaf>,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        client_config(&self.cluster, leaf, alpn, versions)
    }

    /// Sends bytes as they are, and reads until the gateway closes the connection.
    pub(crate) async fn raw(&self, leaf: impl Into<Option<&Leaf>>, bytes: impl AsRef<[u8]>) -> String {
        let stream = self.connect(leaf.into(), &["http/1.1"]).await.unwrap();
        raw_on(stream, bytes).await
    }

    /// Tries to call, and gives what the caller sees of the refusal.
    pub(crate) async fn refused(&self, leaf: Option<&Leaf>) -> String {
        let attempt = async {
            let mut stream = self.connect(leaf, &["http/1.1"]).await?;
            stream.write_all(b"GET /.well-known/cluster/whoami HTTP/1.1\r\nhost: gateway\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        match patiently(attempt).await {
            Ok(answer) => panic!("it was let in: {answer}"),
            Err(error) => error.to_string(),
        }
    }

    /// One request over HTTP/1.1 on a connection of its own.
    pub(crate) async fn call(&self, leaf: impl Into<Option<&Leaf>>, request: Request<Full<Bytes>>) -> Answer {
        let stream = self.connect(leaf.into(), &["http/1.1"]).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = Answer::of(patiently(sender.send_request(request)).await.unwrap()).await;
        connection.abort();
        let _ = connection.await;
        answer
    }

    /// One request over HTTP/2 on a connection of its own.
    pub(crate) async fn call_h2(
        &self,
        leaf: impl Into<Option<&Leaf>>,
        request: Request<Full<Bytes>>,
    ) -> Answer {
        call_h2_on(self.connect(leaf.into(), &["h2"]).await.unwrap(), request).await
    }

    /// An HTTP/2 connection, and the task that runs it.
    pub(crate) async fn open_h2(&self, leaf: &Leaf) -> (Calls, JoinHandle<hyper::Result<()>>) {
        open_h2_on(self.connect(Some(leaf), &["h2"]).await.unwrap()).await
    }

    pub(crate) async fn get(&self, leaf: impl Into<Option<&Leaf>>, path: &str) -> Answer {
        self.call(leaf, get(path)).await
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
            let _ = running.join();
        }
    }
}

/// Calls on an HTTP/2 connection.
pub(crate) type Calls = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

pub(crate) type Tls = TlsStream<TcpStream>;

/// One request over HTTP/2 on this connection.
pub(crate) async fn call_h2_on(stream: Tls, request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) = open_h2_on(stream).await;
    let answer = Answer::of(patiently(sender.send_request(request)).await.unwrap()).await;
    connection.abort();
    let _ = connection.await;
    answer
}

async fn open_h2_on(stream: Tls) -> (Calls, JoinHandle<hyper::Result<()>>) {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// Sends bytes as they are on this connection, and reads until the gateway closes it.
pub(crate) async fn raw_on(mut stream: Tls, bytes: impl AsRef<[u8]>) -> String {
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    // The end may come as a reset, after the answer.
    let _ = patiently(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET for HTTP/1.1.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", path, "")
}

/// A request for HTTP/1.1.
pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).header("host", "gateway").body(Full::from(body)).unwrap()
}

/// The same for HTTP/2, where the host is in the target.
pub(crate) fn request_h2(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let uri = format!("https://gateway{path}");
    Request::builder().method(method).uri(uri).body(Full::from(body)).unwrap()
}

/// A response, all of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(response: http::Response<hyper::body::Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = patiently(body.collect()).await.unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }
}

/// Reads until `wanted` has come; gives everything so far.
pub(crate) async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), wanted: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        let mut some = [0; 4_096];
        let length = patiently(stream.read(&mut some)).await.unwrap();
        assert!(length > 0, "ended before {wanted:?}: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&some[..length]);
    }
    String::from_utf8(seen).unwrap()
}

/// What a future gives, or a failure when it takes too long.
pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// A clock that can be moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct MovedClock(Arc<AtomicI64>);

impl MovedClock {
    /// Moves it this far from the machine's.
    pub(crate) fn set(&self, by: Duration) {
        self.0.store(by.whole_seconds(), Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + Duration::seconds(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> std::time::Instant {
        SystemClock.monotonic()
    }

    fn sleep(&self, pause: std::time::Duration) {
        SystemClock.sleep(pause);
    }
}

/// What was written to the access log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Destination for Lines {}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
