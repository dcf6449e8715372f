//! TLS handshake of a server: plain HTTP is answered, the server name is checked, and the rest is left to rustls.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::linger::LINGER_TIMEOUT;
use super::plain_http;
use crate::mtls::tls::{self, ServerNames};

/// Failure of a handshake, with the connection for the alert.
pub(crate) struct NegotiationError {
    pub(crate) error: HandshakeError,
    pub(crate) stream: TcpStream,
    /// Server name in the ClientHello, once it was read.
    pub(crate) server_name: Option<String>,
}

/// Reason of a failed handshake.
pub(crate) enum HandshakeError {
    /// The connection failed, or rustls refused it.
    Io(io::Error),
    /// The client speaks plain HTTP.
    PlainHttp,
    /// The certificate does not have the server name.
    UnknownName,
}

/// Read the ClientHello, check its server name, and run the rest of the handshake.
pub(crate) async fn negotiate(
    names: &ServerNames,
    config: &Arc<ServerConfig>,
    mut stream: TcpStream,
) -> Result<TlsStream<TcpStream>, NegotiationError> {
    if plain_http::is_spoken(&stream).await {
        plain_http::refuse(&mut stream).await;
        return Err(NegotiationError { error: HandshakeError::PlainHttp, stream, server_name: None });
    }
    let accepted = match tls::read_client_hello(&mut stream).await {
        Ok(accepted) => accepted,
        Err(error) => {
            return Err(NegotiationError { error: HandshakeError::Io(error), stream, server_name: None });
        }
    };
    let server_name = accepted.client_hello().server_name().map(str::to_owned);
    if server_name.as_ref().is_some_and(|name| !names.contains(name)) {
        tls::refuse_server_name(&mut stream).await;
        return Err(NegotiationError { error: HandshakeError::UnknownName, stream, server_name });
    }
    let offers_tls13 = tls::offers_tls13(&accepted.client_hello());
    let start = StartHandshake::from_parts(accepted, stream);
    match start.into_stream(Arc::clone(config)).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, mut stream)) => {
            if !offers_tls13 {
                tls::refuse_long_message(&mut stream, &error).await;
            }
            Err(NegotiationError { error: HandshakeError::Io(error), stream, server_name })
        }
    }
}

/// Send the closing alert of an established connection.
pub(crate) async fn close(mut stream: TlsStream<TcpStream>) -> TcpStream {
    let _ = timeout(LINGER_TIMEOUT, stream.shutdown()).await;
    stream.into_inner().0
}
