//! Services to put behind the gateway: ones that answer bytes as they are told, and say what came.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::eventually::PATIENCE;

/// A service of one script: each connection is handed to `serve`, with its number from 0.
pub(crate) fn scripted(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            let serve = std::sync::Arc::clone(&serve);
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

/// A service that answers each request with the bytes of `answer`, and passes on what it got.
pub(crate) fn answering(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let (sender, received) = channel();
    let address = scripted(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let _ = sender.send(request);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (address, received)
}

/// A service whose responses do not end: a word each time that nobody has taken more of one for a while, so
/// that everything on the way is full, and another one when the gateway ends it.
pub(crate) fn until_full() -> (SocketAddr, Receiver<()>, Receiver<()>) {
    let ((full, is_full), (ended, has_ended)) = (channel(), channel());
    let upstream = scripted(move |_, mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        let _ = full.send(());
        let _ = stream.read(&mut [0]);
        let _ = ended.send(());
    });
    (upstream, is_full, has_ended)
}

/// Everything to the end of a request: by its length, by its last chunk, or by the end of its head.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let whole = match head.contains("transfer-encoding: chunked") {
                true => format!("\r\n{body}").contains("\r\n0\r\n") && body.ends_with("\r\n\r\n"),
                false => body.len() >= length,
            };
            if whole {
                return Some(text);
            }
        }
        let mut some = [0; 4_096];
        match stream.read(&mut some) {
            Ok(0) | Err(_) => return None,
            Ok(length) => seen.extend_from_slice(&some[..length]),
        }
    }
}
