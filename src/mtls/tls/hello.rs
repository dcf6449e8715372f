//! ClientHello of a connection, read before the handshake is configured, and alerts to clients that are refused.
//!
//! Until the ServerHello, and in TLS 1.2 until the last message of the handshake, alerts are not encrypted (RFC 8446,
//! section 6). rustls sends none for messages that are too long, and cannot send `unrecognized_name`.

use std::io::{self, Read};

use rustls::server::{Accepted, Acceptor, ClientHello};
use rustls::{Error, InvalidMessage};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Fatal alert in the clear: record header of TLS 1.2, level, description.
const fn alert(description: u8) -> [u8; 7] {
    [0x15, 3, 3, 0, 2, 2, description]
}

/// `decode_error`, for messages that are too long as well.
const DECODE_ERROR: [u8; 7] = alert(50);

/// `unrecognized_name` (RFC 6066, section 3).
const UNRECOGNIZED_NAME: [u8; 7] = alert(112);

/// Read the ClientHello. A client that sends another one than RFC 8446 permits gets an alert.
///
/// # Errors
/// [`io::Error`] of the connection, or with the error of rustls as its source.
pub async fn read_client_hello(stream: &mut TcpStream) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    loop {
        stream.readable().await?;
        match acceptor.read_tls(&mut NonBlocking(stream)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // The buffer of rustls is full.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                let error = Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge);
                return Err(refused(stream, &DECODE_ERROR, error).await);
            }
            Err(error) => return Err(error),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut record = Vec::new();
                let _ = alert.write_all(&mut record);
                let record = if record.is_empty() { &DECODE_ERROR } else { record.as_slice() };
                return Err(refused(stream, record, error).await);
            }
        }
    }
}

/// Send the alert for a server name that the certificate does not have.
pub async fn refuse_server_name(stream: &mut TcpStream) {
    // The reason is logged, whether the client gets it or not.
    let _ = stream.write_all(&UNRECOGNIZED_NAME).await;
}

/// True if the client offers a cipher suite of TLS 1.3, so that this version is selected.
#[must_use]
pub fn offers_tls13(hello: &ClientHello<'_>) -> bool {
    hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13)
}

/// Send the alert for a message beyond 64 KiB in a handshake of TLS 1.2, which failed with `error`. In TLS 1.3, only
/// rustls has the key for it.
pub async fn refuse_long_message(stream: &mut TcpStream, error: &io::Error) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    if let Some(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)) = cause {
        let _ = stream.write_all(&DECODE_ERROR).await;
    }
}

async fn refused(stream: &mut TcpStream, alert: &[u8], error: Error) -> io::Error {
    let _ = stream.write_all(alert).await;
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Reader of what has arrived.
struct NonBlocking<'a>(&'a TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}
