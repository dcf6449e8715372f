//! Server of the admin socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::gateway::admin::request::{AdminRequest, MAX_REQUEST_BYTES};
use crate::gateway::admin::socket::AdminSocket;
use crate::gateway::control::changes::Trigger;
use crate::gateway::control::reload::Control;
use crate::gateway::control::status::StatusSnapshot;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Phase;
use crate::identity::{Name, Role};
use crate::x509::SerialNumber;

/// Time to receive a request, and to send its response.
const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that the response to `close` waits for the connections to close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Interval between checks of those connections.
const CLOSE_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Time that the response to a reload waits for a key that a KMS opens. The client waits longer.
const KEY_WAIT: Duration = Duration::from_secs(30);

/// Interval between checks of that key.
const KEY_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Pause of the accept loop after an error such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serve the admin socket until the gateway stops.
pub async fn run(control: Arc<Control>, socket: AdminSocket) {
    let mut phase = control.shared.phase.subscribe();
    tokio::select! {
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
        Err(error) = accept(&control, &socket) => tracing::error!(%error, "the admin socket cannot be served"),
    }
}

async fn accept(control: &Arc<Control>, socket: &AdminSocket) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection on the admin socket failed");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let control = Arc::clone(control);
        tokio::spawn(async move {
            if let Err(error) = serve(&control, stream).await {
                log_failure(&error);
            }
        });
    }
}

/// Log a request that got no response. A client that disconnects or stalls is no fault of the gateway.
fn log_failure(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotConnected
        | io::ErrorKind::TimedOut => {
            tracing::debug!(%error, "a client of the admin socket disconnected or timed out");
        }
        _ => tracing::warn!(%error, "a request on the admin socket was not answered"),
    }
}

async fn serve(control: &Arc<Control>, stream: UnixStream) -> io::Result<()> {
    let client = stream.peer_cred()?.uid();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(IO_TIMEOUT, (&mut stream).take(MAX_REQUEST_BYTES).read_line(&mut line)).await??;
    let answer = if is_authorized(client, geteuid().as_raw()) {
        match serde_json::from_str(&line) {
            Ok(request) => answer(control, request).await,
            Err(error) => refused(Code::usage("admin.request"), &error.to_string(), &[]),
        }
    } else {
        refused(Code::refused("admin.not_allowed"), "only the gateway's own user and root are allowed", &[])
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(IO_TIMEOUT, stream.write_all(&text)).await??;
    stream.shutdown().await
}

/// Check the client's user ID. The mode of the socket should suffice; this holds even if it was changed.
const fn is_authorized(client: u32, own: u32) -> bool {
    client == own || client == 0
}

async fn answer(control: &Arc<Control>, request: AdminRequest) -> Value {
    match request {
        AdminRequest::Close { serial_number } => match serial_number.parse() {
            Ok(serial_number) => succeeded(&close(control, serial_number).await),
            Err(error) => refused(Code::usage("admin.request"), &error.to_string(), &[]),
        },
        AdminRequest::Rejected => succeeded(&control.shared.telemetry.refused_handshakes.newest_first()),
        AdminRequest::Reload => reload(control).await,
        AdminRequest::Sessions => {
            let now = control.shared.clock.now();
            let sessions = control.shared.registry.sessions();
            succeeded(&sessions.iter().map(|session| SessionRow::of(session, now)).collect::<Vec<_>>())
        }
        AdminRequest::Status => succeeded(&StatusSnapshot::of(control)),
    }
}

async fn close(control: &Control, serial_number: SerialNumber) -> CloseResult {
    let verdict = |session: &Session| {
        if session.peer.as_ref().is_some_and(|peer| peer.serial_number == serial_number) {
            Command::Cut(CutReason::Operator)
        } else {
            Command::Serve
        }
    };
    let noticed = control.shared.clock.monotonic();
    let cut = control.shared.registry.sweep(noticed, verdict);
    while !cut.iter().all(|session| session.has_ended())
        && control.shared.clock.monotonic() - noticed < CLOSE_WAIT
    {
        sleep(CLOSE_POLL_INTERVAL).await;
    }
    tracing::info!(%serial_number, connections = cut.len(), "connections closed on the admin socket");
    CloseResult { serial_number, connections_closed: cut.len() }
}

/// Reload on a blocking thread, since file systems may be slow.
async fn reload(control: &Arc<Control>) -> Value {
    let reloading = tokio::task::spawn_blocking({
        let control = Arc::clone(control);
        move || control.reload(Trigger::Admin)
    });
    match reloading.await {
        Ok(Ok(change)) if change.awaits_key => wait_for_key(control, change.cut.len()).await,
        Ok(Ok(change)) => succeeded(&ReloadResult {
            generation: change.state.generation,
            connections_closed: change.cut.len(),
            awaits_key: false,
            needs_restart: control.changes.needs_restart(),
        }),
        Ok(Err(error)) => refused(error.coded(), &error.to_string(), &error.causes()),
        Err(_) => refused(Code::environment("gateway.internal"), "internal error of the gateway", &[]),
    }
}

/// Wait up to [`KEY_WAIT`] for a key that is still being opened: everything else is already in force.
async fn wait_for_key(control: &Control, connections_closed: usize) -> Value {
    let opened = async {
        while control.changes.awaits_key() {
            sleep(KEY_POLL_INTERVAL).await;
        }
    };
    let awaits_key = timeout(KEY_WAIT, opened).await.is_err();
    // The result of the key, not of the last reload: a later reload may have opened it, or may still be running.
    match control.changes.key_failure() {
        Some((code, message)) => refused(code, &message, &[]),
        None => {
            let generation = control.shared.state.load().generation;
            let needs_restart = control.changes.needs_restart();
            succeeded(&ReloadResult { generation, connections_closed, awaits_key, needs_restart })
        }
    }
}

fn succeeded(result: &impl Serialize) -> Value {
    json!({ "ok": true, "result": result })
}

fn refused(code: Code, message: &str, causes: &[String]) -> Value {
    let class = code.class();
    json!({ "ok": false, "error": { "code": code, "class": class, "message": message, "causes": causes } })
}

#[derive(Serialize)]
struct CloseResult {
    serial_number: SerialNumber,
    connections_closed: usize,
}

#[derive(Serialize)]
struct ReloadResult {
    generation: u64,
    connections_closed: usize,
    /// Set while a key is still being opened; the previous certificate stays in force until then.
    awaits_key: bool,
    /// Configuration keys that changed and take effect only after a restart.
    needs_restart: Vec<&'static str>,
}

/// One open connection.
#[derive(Serialize)]
struct SessionRow<'a> {
    session: u64,
    remote: String,
    /// Identity of the caller; absent without a certificate.
    #[serde(flatten)]
    caller: Option<CallerFields<'a>>,
    tls_version: &'static str,
    alpn: &'static str,
    resumed: bool,
    /// Age of the connection.
    seconds_open: u64,
    requests_running: u32,
}

#[derive(Serialize)]
struct CallerFields<'a> {
    role: Role,
    name: &'a Name,
    serial_number: SerialNumber,
    /// Last second in which the certificate and all its issuers are valid.
    expires: String,
    /// Seconds until then.
    seconds_left: i64,
}

impl<'a> SessionRow<'a> {
    fn of(session: &'a Session, now: time::OffsetDateTime) -> Self {
        let caller = session.peer.as_ref().map(|peer| CallerFields {
            role: peer.identity.role,
            name: &peer.identity.name,
            serial_number: peer.serial_number,
            expires: rfc3339(peer.expires),
            seconds_left: (peer.expires - now).whole_seconds(),
        });
        Self {
            session: session.id,
            remote: session.remote.to_string(),
            caller,
            tls_version: session.tls_version,
            alpn: session.protocol.as_str(),
            resumed: session.resumed,
            seconds_open: session.activity.age().as_secs(),
            requests_running: session.activity.in_flight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_user_and_root_are_authorized() {
        assert!(is_authorized(1_000, 1_000) && is_authorized(0, 1_000) && is_authorized(0, 0));
        assert!(!is_authorized(1_001, 1_000) && !is_authorized(1_000, 0));
    }
}
