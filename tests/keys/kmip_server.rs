//! A real PyKMIP server for one test, with its own port and PKI.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::bao::{free_port, tool};

/// Time limit of a start.
const PATIENCE: Duration = Duration::from_secs(60);

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/pykmip.py");

/// A CA for servers and clients of KMIP.
pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) directory: tempfile::TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "KMIP test CA");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        fs::write(directory.path().join("ca.key"), key.serialize_pem()).unwrap();
        Self { issuer: Issuer::new(params, key), directory }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.path().join(name).into_os_string().into_string().unwrap()
    }

    /// `NAME.pem` and `NAME.key` for this purpose.
    pub(crate) fn issue(&self, name: &str, purpose: Option<ExtendedKeyUsagePurpose>) {
        self.issue_until(name, purpose, time::Duration::days(3650));
    }

    /// The same, for so long from now.
    pub(crate) fn issue_until(
        &self,
        name: &str,
        purpose: Option<ExtendedKeyUsagePurpose>,
        validity: time::Duration,
    ) {
        let mut params = CertificateParams::default();
        params.not_after = time::OffsetDateTime::now_utc() + validity;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.extend(purpose);
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        let path = self.file(&format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

/// A server, and an administrator's client that creates and destroys keys.
pub(crate) struct KmipServer {
    server: Child,
    administrator: Option<(Child, BufReader<std::process::ChildStdout>)>,
    pub(crate) pki: Pki,
    pub(crate) port: u16,
}

impl KmipServer {
    /// A server that offers these versions; without any, all that it supports.
    pub(crate) fn start(versions: &[&str]) -> Self {
        let pki = Pki::new();
        pki.issue("server", Some(ExtendedKeyUsagePurpose::ServerAuth));
        // PyKMIP identifies the owner of a key by common name: administrator and CA share one.
        pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
        let port = free_port();
        let server = serve(&pki, port, versions);
        let mut started = Self { server, administrator: None, pki, port };
        started.wait();
        started
    }

    fn wait(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "PyKMIP does not come up");
            assert!(self.server.try_wait().unwrap().is_none(), "PyKMIP ended");
            std::thread::yield_now();
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and its children, from any thread.
    pub(crate) fn killer(&self) -> impl FnOnce() + Send + use<> {
        let group = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw).unwrap();
        move || kill_process_group(group, Signal::KILL).unwrap()
    }

    /// Sends a request to the administrator's client, `pykmip.py`.
    pub(crate) fn administer(&mut self, request: &str) -> String {
        let (client, answers) = self.administrator.get_or_insert_with(|| {
            let mut client = Command::new(tool("python3"))
                .args([SCRIPT, "client", &self.port.to_string()])
                .args(["client.pem", "client.key", "ca.pem"].map(|name| self.pki.file(name)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let answers = BufReader::new(client.stdout.take().unwrap());
            (client, answers)
        });
        writeln!(client.stdin.as_mut().unwrap(), "{request}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the KMIP client failed at `{request}`");
        answer.trim().to_owned()
    }

    /// Stops the server; its keys stay on disk.
    pub(crate) fn stop(&mut self) {
        if let Some((mut client, _)) = self.administrator.take() {
            drop(client.stdin.take());
            let _ = client.wait();
        }
        end(&mut self.server);
    }

    /// Restarts the server with these versions and its old keys.
    pub(crate) fn restart(&mut self, versions: &[&str]) {
        self.stop();
        self.server = serve(&self.pki, self.port, versions);
        self.wait();
    }

    /// Log of the server, for messages of failed tests.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.pki.file("server.log")).unwrap_or_default()
    }
}

impl Drop for KmipServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(pki: &Pki, port: u16, versions: &[&str]) -> Child {
    let directory = pki.directory.path();
    fs::create_dir_all(directory.join("policy")).unwrap();
    let configuration = format!(
        "[server]\nhostname=127.0.0.1\nport={port}\ncertificate_path={0}/server.pem\nkey_path={0}/server.key\n\
         ca_path={0}/ca.pem\nauth_suite=TLS1.2\npolicy_path={0}/policy\nenable_tls_client_auth=True\n\
         logging_level=DEBUG\ndatabase_path={0}/pykmip.db\n",
        directory.display()
    );
    let file: PathBuf = directory.join("server.conf");
    fs::write(&file, configuration).unwrap();
    let output = fs::File::create(directory.join("server.out")).unwrap();
    Command::new(tool("python3"))
        .args([Path::new(SCRIPT), Path::new("serve"), &file, &directory.join("server.log")])
        .args(versions)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        // Its children survive when it is killed alone.
        .process_group(0)
        .spawn()
        .unwrap()
}

fn end(server: &mut Child) {
    if let Some(group) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = server.wait();
}
