//! Plain HTTP on the TLS port, and foreign text on a terminal.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::explain::run;
use crate::harness::{Setup, TestGateway, patiently};

#[tokio::test]
async fn a_caller_of_plain_http_is_told_so_in_plain_http() {
    let gateway = TestGateway::start();
    for request in ["GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nThis port requires https and TLS.\r\n"), "{answer}");
    }
    assert_eq!(gateway.refusal(), "tls.plain_http");
    let kept = serde_json::to_value(gateway.running().telemetry().refused_handshakes.newest_first()).unwrap();
    assert_eq!(
        (&kept[0]["reason"], &kept[1]["reason"]),
        (&"tls.plain_http".into(), &"tls.plain_http".into())
    );
    // Other bytes are no HTTP.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"SSH-2.0-client\r\n").await.unwrap();
    gateway.line("handshake_refused", |line| line["reason"] != "tls.plain_http");
}

#[test]
fn fields_of_a_log_have_no_effect_on_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    Setup::new().write(directory.path());
    let forged = "\u{1b}[2J\u{9b}31m\u{202e}\nerror: forged";
    let line = serde_json::json!({
        "time": "2026-01-02T03:04:05.000Z", "event": "request", "role": "api-user", "name": "alice",
        "method": "GET", "path": "/v2/x", "decision": "permit", "upstream": forged, "status": 200,
    });
    std::fs::write(directory.path().join("access.log"), format!("{line}\n")).unwrap();
    let (code, text, _) = run(directory.path(), &["replay", "access.log", "--config", "gateway.yaml"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("permit (\\u{1b}[2J\\u{9b}31m\\u{202e}\\nerror: forged)"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
    let (_, json, _) = run(directory.path(), &["replay", "access.log", "--config", "gateway.yaml", "--json"]);
    assert!(!json.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}'), "{json:?}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["result"]["changes"][0]["was"], format!("permit ({forged})"));
    let (code, _, said) =
        run(directory.path(), &["explain", "--config", "no\u{1b}[2J\u{202e}.yaml", "--request", "GET /"]);
    assert!(code != 0 && !said.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{said:?}");
}
