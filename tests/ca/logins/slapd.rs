//! A real OpenLDAP server for one test, with a certificate of a CA of its own, ended with the test.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::eventually::eventually;
use crate::home::Home;

pub(super) const BASE: &str = "dc=example,dc=test";
pub(super) const READER: &str = "cn=reader,dc=example,dc=test";
pub(super) const READER_PASSWORD: &str = "reader-secret";
pub(super) const PASSWORD: &str = "directory-secret";

/// Attribute of 389 Directory Server, whose schema OpenLDAP does not have.
const LOCK: &str = "attributetype ( 2.16.840.1.113730.3.1.610 NAME 'nsAccountLock' \
                    SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n";

const ENTRIES: &str = "\
dn: dc=example,dc=test
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=reader,dc=example,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader-secret

dn: ou=people,dc=example,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=test
objectClass: organizationalUnit
ou: groups

dn: uid=dora,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
objectClass: extensibleObject
uid: dora
cn: Dora
sn: Example
description: one
userPassword: directory-secret

dn: cn=Smith\\, Eva+uid=eva,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: eva
cn: Smith, Eva
sn: Smith
userPassword: directory-secret

dn: uid=frank,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: frank
cn: Frank
sn: Example
userPassword: directory-secret

dn: uid=alice,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: alice
cn: Alice of the directory
sn: Example
userPassword: directory-secret

dn: cn=operators,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: operators
member: uid=dora,ou=people,dc=example,dc=test
member: uid=alice,ou=people,dc=example,dc=test

dn: cn=people,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: people
member: uid=dora,ou=people,dc=example,dc=test
member: cn=Smith\\, Eva+uid=eva,ou=people,dc=example,dc=test

dn: cn=strangers,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: strangers
member: uid=frank,ou=people,dc=example,dc=test

dn: cn=Gina,ou=people,dc=example,dc=test
objectClass: user
objectClass: extensibleObject
cn: Gina
sn: Example
sAMAccountName: Gina
userAccountControl: 512
instanceType: 4
nTSecurityDescriptor: x
objectCategory: cn=user
userPassword: directory-secret

dn: cn=Domain Operators,ou=groups,dc=example,dc=test
objectClass: group
cn: Domain Operators
groupType: 2
instanceType: 4
nTSecurityDescriptor: x
objectCategory: cn=group
member: cn=Gina,ou=people,dc=example,dc=test
";

/// A server; killed when dropped.
pub(super) struct Slapd {
    child: Child,
    directory: tempfile::TempDir,
    /// Port of `ldap://` and of `ldaps://`.
    ports: (u16, u16),
    /// The CA of its certificate.
    pub(super) pki: Home,
}

impl Slapd {
    /// Starts a server with TLS for 127.0.0.1.
    pub(super) fn start() -> Self {
        Self::with("127.0.0.1")
    }

    /// Starts a server whose certificate is for `host`.
    pub(super) fn with(host: &str) -> Self {
        let pki = Home::initialized();
        pki.ok(&["create-control", host]);
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let issued = |end: &str| pki.path(format!("issued/control-{host}.{end}")).display().to_string();
        fs::create_dir(directory.path().join("db")).expect("a directory");
        let schema = ["core", "cosine", "inetorgperson", "nis"];
        let schema = schema.map(|name| format!("include /etc/ldap/schema/{name}.schema\n")).concat();
        let configuration = format!(
            "{schema}include {lock}\ninclude {windows}\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {pid}\n\
             TLSCACertificateFile {ca}\nTLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n\
             TLSVerifyClient never\nTLSProtocolMin 3.3\ndatabase mdb\nsuffix \"{BASE}\"\n\
             rootdn \"cn=admin,{BASE}\"\nrootpw adminpw\ndirectory {db}\n\
             access to attrs=userPassword by anonymous auth by self write by * none\n\
             access to * by dn.exact=\"{READER}\" read by self read by * none\n",
            lock = at("lock.schema"),
            windows = at("msuser.schema"),
            pid = at("slapd.pid"),
            ca = pki.path("cluster.crt").display(),
            certificate = issued("crt"),
            key = issued("key"),
            db = at("db"),
        );
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
        write("lock.schema", LOCK);
        // OpenLDAP's copy of the schema of Active Directory lacks the rules by which names are compared.
        let windows = fs::read_to_string("/etc/ldap/schema/msuser.schema").expect("a schema");
        let name = "NAME 'sAMAccountName'\n";
        assert!(windows.contains(name), "the attribute of account names");
        write("msuser.schema", &windows.replace(name, &format!("{name}\tEQUALITY caseIgnoreMatch\n")));
        write("slapd.conf", &configuration);
        write("base.ldif", ENTRIES);
        let added = Command::new("/usr/sbin/slapadd")
            .args(["-f", &at("slapd.conf"), "-l", &at("base.ldif")])
            .output()
            .expect("slapadd");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let (child, ports) = start(directory.path().to_owned());
        Self { child, directory, ports, pki }
    }

    /// Address with TLS from the first byte.
    pub(super) fn ldaps(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ports.1)
    }

    /// Address without TLS at first.
    pub(super) fn ldap(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ports.0)
    }

    /// File with the CA of its certificate.
    pub(super) fn ca(&self) -> String {
        self.pki.path("cluster.crt").display().to_string()
    }

    /// Operations that the server has logged so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("a log")
    }

    /// Changes entries, by LDIF.
    pub(super) fn modify(&self, ldif: &str) {
        let mut child = Command::new("ldapmodify")
            .args(["-x", "-H", &self.ldap(), "-D", &format!("cn=admin,{BASE}"), "-w", "adminpw"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify");
        child.stdin.take().expect("a pipe").write_all(ldif.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends the server; its addresses refuse connections then.
    pub(super) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the server again, at the same addresses.
    pub(super) fn start_again(&mut self) {
        self.child = spawn(self.directory.path().to_owned(), self.ports);
        let address = SocketAddr::from(([127, 0, 0, 1], self.ports.0));
        eventually("slapd answers", || TcpStream::connect(address).ok());
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a server on free ports; another process may be faster to take one.
fn start(directory: PathBuf) -> (Child, (u16, u16)) {
    loop {
        let free = || TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
        let (one, two) = (free(), free());
        let port = |socket: &TcpListener| socket.local_addr().expect("an address").port();
        let ports = (port(&one), port(&two));
        drop((one, two));
        let mut child = spawn(directory.clone(), ports);
        let address = SocketAddr::from(([127, 0, 0, 1], ports.0));
        let is_up = eventually("slapd answers, or ends", || {
            if child.try_wait().expect("a state").is_some() {
                return Some(false);
            }
            TcpStream::connect(address).ok().map(|_| true)
        });
        if is_up {
            return (child, ports);
        }
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(log.contains("in use"), "slapd has ended: {log}");
    }
}

fn spawn(directory: PathBuf, (plain, tls): (u16, u16)) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).expect("a log");
    Command::new("/usr/sbin/slapd")
        .args(["-d", "stats", "-f"])
        .arg(directory.join("slapd.conf"))
        .args(["-h", &format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("slapd")
}
