//! What stands in front of an OpenBao in a test: it counts what is asked, and can be away, silent or
//! broken.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::bao::{Bao, certificate};

/// What it does with whoever calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Hangs up.
    Away,
    /// Answers with this status and nothing else.
    Broken(u16),
    /// Sends its answers a byte at a time, and never comes to their end.
    Dripping,
    /// Passes it on.
    Passing,
    /// Says nothing, and does not hang up.
    Silent,
}

/// A front at an address of its own, with a certificate of its own CA.
pub(crate) struct Front {
    /// `https://HOST:PORT`.
    pub(crate) address: String,
    /// The CA of its certificate, in PEM.
    pub(crate) ca: String,
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    tls: Arc<ServerConfig>,
    agent: ureq::Agent,
    behind: String,
}

/// Something that happens, once there have been so many requests for a path.
type Event = (String, usize, Box<dyn FnOnce() + Send>);

struct State {
    mode: Mode,
    asked: Vec<String>,
    /// What is answered to a path that begins so, without asking anybody.
    lies: Vec<(String, String)>,
    /// What happens after so many requests for a path that begins so.
    then: Option<Event>,
    held: Vec<TcpStream>,
    ended: bool,
}

impl Front {
    /// Passes on to `bao`.
    pub(crate) fn of(bao: &Bao) -> Self {
        let (tls, ca) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            mode: Mode::Passing,
            asked: Vec::new(),
            lies: Vec::new(),
            then: None,
            held: Vec::new(),
            ended: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            tls,
            agent: bao.agent().clone(),
            behind: bao.address.clone(),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address: format!("https://127.0.0.1:{port}"), ca, port, shared, thread: Some(thread) }
    }

    /// From now on.
    pub(crate) fn set(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        // Whoever was held learns that nobody is there.
        state.held.clear();
    }

    /// Answers this, with status 200, to every request for a path that begins so.
    pub(crate) fn lie(&self, path: &str, answer: impl ToString) {
        self.state().lies.push((path.to_owned(), answer.to_string()));
    }

    /// Does something once `count` more requests for a path that begins so have been answered.
    pub(crate) fn after(&self, count: usize, path: &str, then: impl FnOnce() + Send + 'static) {
        let count = self.asked(path) + count;
        self.state().then = Some((path.to_owned(), count, Box::new(then)));
    }

    /// How many requests for a path that begins so have been passed on.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.starts_with(path)).count()
    }

    /// How many callers get no answer now.
    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.state().ended = true;
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().unwrap().join();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        let mut state = shared.state.lock().unwrap();
        if state.ended {
            return;
        }
        match state.mode {
            Mode::Away => drop(stream),
            Mode::Silent => state.held.push(stream),
            Mode::Broken(_) | Mode::Dripping | Mode::Passing => {
                let shared = Arc::clone(shared);
                // Whoever goes away in the middle does without the answer.
                std::thread::spawn(move || serve(&shared, stream));
            }
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let header = |wanted: &str| {
        lines.clone().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then_some(value)
        })
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let asked = path.trim_start_matches("/v1/");
    let (mode, lie, then) = {
        let mut state = shared.state.lock().unwrap();
        state.asked.push(asked.to_owned());
        let lie = state.lies.iter().find(|(path, _)| asked.starts_with(path)).map(|(_, lie)| lie.clone());
        let count = |path: &str| state.asked.iter().filter(|asked| asked.starts_with(path)).count();
        let is_due = state.then.as_ref().is_some_and(|(path, due, _)| count(path) >= *due);
        (state.mode, lie, if is_due { state.then.take() } else { None })
    };
    if mode == Mode::Dripping {
        return drip(&mut stream);
    }
    let (status, answer) = match (mode, lie) {
        (Mode::Broken(status), _) => (status, Vec::new()),
        (_, Some(lie)) => (200, lie.into_bytes()),
        _ => {
            let mut request = http::Request::builder().method(method).uri(format!("{}{path}", shared.behind));
            for name in ["x-vault-token", "x-vault-namespace"] {
                if let Some(value) = header(name) {
                    request = request.header(name, value);
                }
            }
            let request = request.body(body).map_err(io::Error::other)?;
            let mut answer = shared.agent.run(request).map_err(io::Error::other)?;
            (answer.status().as_u16(), answer.body_mut().read_to_vec().map_err(io::Error::other)?)
        }
    };
    let head = format!(
        "HTTP/1.1 {status} Status\r\nlocation: /v1/elsewhere\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(&[head.as_bytes(), &answer].concat())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    if let Some((.., then)) = then {
        then();
    }
    Ok(())
}

/// Sends a byte now and then, until nobody reads any more.
fn drip(stream: &mut StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
    stream.sock.set_read_timeout(Some(Duration::from_millis(100)))?;
    loop {
        stream.write_all(b"{")?;
        stream.flush()?;
        // The pause between two bytes, and the end when the other side has gone.
        match stream.sock.read(&mut [0; 64]) {
            Ok(0) => return Ok(()),
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(error);
            }
            _ => {}
        }
    }
}

/// TLS with a certificate of its own, and the CA of it.
fn tls() -> (Arc<ServerConfig>, String) {
    let (certificate, key, ca) = certificate();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    (Arc::new(config), ca)
}
