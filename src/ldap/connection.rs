//! Connections: TLS before the first password, one deadline for all of a connection, bounded messages.
//!
//! Without TLS, a connection leads to this machine or not at all. StartTLS reads exactly one response in clear text:
//! bytes that an attacker adds to it become part of the handshake, which fails.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use zeroize::Zeroizing;

use super::error::{LdapError, Malformed};
use super::message::{
    self, INVALID_CREDENTIALS, LdapEntry, LdapResponse, LdapResult, LdapSearch, SIZE_LIMIT_EXCEEDED, SUCCESS,
};
use super::uri::LdapUri;
use crate::clock::{DeadlineStream, IoDeadline};
use crate::keys::kms::{KmsTrustAnchors, client_config};
use crate::secret::Secret;

/// Most references to other directories in the answer to one search.
const MAX_REFERENCES: u32 = 100;

/// Use of TLS on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TlsStart {
    /// TLS from the first byte.
    AtOnce,
    /// StartTLS before the first bind.
    Negotiated,
    /// None: this machine only.
    Never,
}

/// Address and TLS configuration of a directory.
pub struct LdapEndpoint {
    uri: LdapUri,
    start: TlsStart,
    name: ServerName<'static>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

/// Open connection to a directory.
pub struct LdapConnection {
    stream: LdapStream,
    address: String,
    /// Time limit that a search names to the directory, in seconds.
    seconds: u32,
    last_id: u32,
}

enum LdapStream {
    Plain(DeadlineStream),
    Tls(Box<StreamOwned<ClientConnection, DeadlineStream>>),
}

impl LdapEndpoint {
    /// The directory at `uri`. Its certificate must chain to a CA in `ca` (PEM), or without any to one of the system.
    /// `timeout` limits a connection as a whole.
    ///
    /// # Errors
    /// [`LdapError::Trust`] if a certificate in `ca` cannot be used.
    pub fn new(
        uri: LdapUri,
        start_tls: bool,
        ca: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, LdapError> {
        let start = match (uri.is_tls, start_tls) {
            (true, _) => TlsStart::AtOnce,
            (false, true) => TlsStart::Negotiated,
            (false, false) => TlsStart::Never,
        };
        let tls = match start {
            TlsStart::Never => None,
            _ => Some(client_config(&KmsTrustAnchors::from_pem(ca, false)?, None)?),
        };
        let name = ServerName::try_from(uri.host.to_string()).map_err(|_| LdapError::Uri {
            given: uri.to_string(),
            why: "the host is neither a DNS name nor an IP address",
        })?;
        Ok(Self { uri, start, name, tls, timeout })
    }

    /// Connects, and starts TLS.
    ///
    /// # Errors
    /// [`LdapError::Unavailable`], [`LdapError::Untrusted`], [`LdapError::ClearText`], or a refusal of StartTLS.
    pub fn connect(&self) -> Result<LdapConnection, LdapError> {
        let address = self.uri.to_string();
        let deadline = IoDeadline::after(self.timeout);
        let tcp = self.tcp(deadline).map_err(|error| failure(&address, error))?;
        let peer = tcp.peer_addr().map_err(|error| failure(&address, error))?;
        if self.start == TlsStart::Never && !peer.ip().is_loopback() {
            return Err(LdapError::ClearText { address });
        }
        let seconds = u32::try_from(self.timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let stream = LdapStream::Plain(DeadlineStream { tcp, deadline });
        let mut connection = LdapConnection { stream, address, seconds, last_id: 0 };
        if self.start == TlsStart::Negotiated {
            let id = connection.next_id();
            connection.send(&message::start_tls(id))?;
            match connection.receive(id)? {
                LdapResponse::Extended(LdapResult { code: SUCCESS, .. }) => {}
                LdapResponse::Extended(result) => return Err(connection.refused("StartTLS", result)),
                _ => return Err(connection.malformed(UNEXPECTED)),
            }
        }
        match &self.tls {
            Some(tls) => connection.secured(tls, &self.name),
            None => Ok(connection),
        }
    }

    fn tcp(&self, deadline: IoDeadline) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.uri.host.to_string().as_str(), self.uri.port).to_socket_addrs()? {
            let Some(left) = deadline.remaining() else { break };
            match TcpStream::connect_timeout(&address, left) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(tcp);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

const UNEXPECTED: Malformed = Malformed("it is the answer to another request");

impl LdapConnection {
    /// Verify a password by a bind. False if it is wrong.
    ///
    /// # Errors
    /// [`LdapError::EmptyPassword`] before anything is sent, and failures other than a wrong password.
    pub fn bind(&mut self, name: &str, password: &Secret) -> Result<bool, LdapError> {
        if name.is_empty() || password.expose().is_empty() {
            return Err(LdapError::EmptyPassword);
        }
        let id = self.next_id();
        self.send(&message::bind(id, name, password.expose()))?;
        match self.receive(id)? {
            LdapResponse::Bind(LdapResult { code: SUCCESS, .. }) => Ok(true),
            LdapResponse::Bind(LdapResult { code: INVALID_CREDENTIALS, .. }) => Ok(false),
            LdapResponse::Bind(result) => Err(self.refused("a bind", result)),
            _ => Err(self.malformed(UNEXPECTED)),
        }
    }

    /// Searches. References to other directories are not followed.
    ///
    /// # Errors
    /// [`LdapError::Ambiguous`] for more entries than expected, and other failures.
    pub fn search(&mut self, search: &LdapSearch<'_>) -> Result<Vec<LdapEntry>, LdapError> {
        let id = self.next_id();
        let limit = search.limit;
        self.send(&message::search(id, search, self.seconds))?;
        let mut found = Vec::new();
        for _ in 0..=limit.saturating_add(MAX_REFERENCES) {
            match self.receive(id)? {
                LdapResponse::Entry(entry) => found.push(entry),
                LdapResponse::Reference => {}
                LdapResponse::Done(LdapResult { code: SUCCESS, .. })
                    if u32::try_from(found.len()).is_ok_and(|count| count <= limit) =>
                {
                    return Ok(found);
                }
                LdapResponse::Done(LdapResult { code: SUCCESS | SIZE_LIMIT_EXCEEDED, .. }) => break,
                LdapResponse::Done(result) => return Err(self.refused("a search", result)),
                LdapResponse::Bind(_) | LdapResponse::Extended(_) => return Err(self.malformed(UNEXPECTED)),
            }
        }
        Err(LdapError::Ambiguous { address: self.address.clone(), limit })
    }

    /// Address of the directory.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Take leave of the directory, whose answer is not waited for.
    pub fn close(mut self) {
        let id = self.next_id();
        // The connection ends in any case.
        let _ = self.send(&message::unbind(id));
        if let LdapStream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }

    fn secured(self, tls: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Self, LdapError> {
        let Self { stream, address, seconds, last_id } = self;
        let LdapStream::Plain(mut socket) = stream else {
            return Ok(Self { stream, address, seconds, last_id });
        };
        let failed = |error| failure(&address, error);
        let mut tls = ClientConnection::new(Arc::clone(tls), name.clone())
            .map_err(|error| failed(io::Error::other(error)))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(failed)?;
        }
        let stream = LdapStream::Tls(Box::new(StreamOwned::new(tls, socket)));
        Ok(Self { stream, address, seconds, last_id })
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn send(&mut self, message: &[u8]) -> Result<(), LdapError> {
        let sent = match &mut self.stream {
            LdapStream::Plain(stream) => stream.write_all(message).and_then(|()| stream.flush()),
            LdapStream::Tls(stream) => stream.write_all(message).and_then(|()| stream.flush()),
        };
        sent.map_err(|error| failure(&self.address, error))
    }

    /// Read one message and not a byte more.
    fn receive(&mut self, id: u32) -> Result<LdapResponse, LdapError> {
        let mut header = Vec::with_capacity(6);
        let length = loop {
            match message::frame(&header).map_err(|why| self.malformed(why))? {
                Some((length, _)) => break length,
                None => {
                    let mut byte = [0];
                    self.read_exact(&mut byte)?;
                    header.extend_from_slice(&byte);
                }
            }
        };
        let mut contents = Zeroizing::new(vec![0; length]);
        self.read_exact(&mut contents)?;
        match message::response(&contents).map_err(|why| self.malformed(why))? {
            (found, response) if found == id => Ok(response),
            // A notice that the directory ends the connection (RFC 4511, section 4.4.1).
            (0, LdapResponse::Extended(result)) => Err(self.refused("the connection", result)),
            _ => Err(self.malformed(UNEXPECTED)),
        }
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), LdapError> {
        let read = match &mut self.stream {
            LdapStream::Plain(stream) => stream.read_exact(bytes),
            LdapStream::Tls(stream) => stream.read_exact(bytes),
        };
        read.map_err(|error| failure(&self.address, error))
    }

    fn refused(&self, operation: &'static str, result: LdapResult) -> LdapError {
        let LdapResult { code, message } = result;
        let address = self.address.clone();
        LdapError::Refused { address, operation, code, name: message::code_name(code), message }
    }

    fn malformed(&self, Malformed(why): Malformed) -> LdapError {
        LdapError::Protocol { address: self.address.clone(), why }
    }
}

/// Translate a failure of the connection to `address`.
fn failure(address: &str, error: io::Error) -> LdapError {
    let address = address.to_owned();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            LdapError::Untrusted { address, why: why.to_string() }
        }
        _ => LdapError::Unavailable { address, source: error },
    }
}
