//! The whole configuration, and the file that it is read from.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::error::ServerConfigError;
use super::limits::ServerLimits;
use super::schema;
use crate::files::{self, FileError};
use crate::identity::{AccountRole, Host, Name, Role, role_and_name};
use crate::serving::access_log::{AccessLog, access_log};
use crate::serving::sockets::collide;
use crate::yaml::reader::{Item, KeyFiles, Problems};
use crate::yaml::values::socket_address;
use crate::yaml::{Document, LIMIT, YamlProblem};

/// Port of the API, where no other is configured.
const PORT: u16 = 14_000;

/// Configuration of a server, complete and valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Names and addresses that clients use; at least one.
    pub hosts: Vec<Host>,
    /// Client certificates that may call the API.
    pub operators: Vec<Operator>,
    /// Limits and timeouts.
    pub limits: ServerLimits,
    /// Destination of the access log.
    pub access_log: AccessLog,
    /// Address of the metrics listener, if any.
    pub metrics: Option<SocketAddr>,
}

/// Client certificate that may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Role in the certificate.
    pub certificate_role: Role,
    /// Name in the certificate.
    pub name: Name,
    /// Role of the caller.
    pub role: AccountRole,
}

impl ServerConfig {
    /// Read a configuration file that is to take effect: it must be protected against writing by other users.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read, or another user can write it.
    pub fn read_guarded(path: &Path) -> Result<Vec<u8>, FileError> {
        files::check_write_protected(path)?;
        files::read(path, LIMIT)
    }

    /// Parse the `bytes` of the configuration file at `path`.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Vec<YamlProblem>> {
        let alone = |problem| vec![problem];
        let document = Document::parse(&path.display().to_string(), bytes).map_err(alone)?;
        let value = document.deserialize().map_err(alone)?;
        let problems = Problems::of(KeyFiles::Checked);
        let config = read(&Item::new(&value, document.root(), &problems), files::parent(path));
        let problems = problems.into_sorted();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }
}

/// Read all keys. Values that are missing from the result have been reported.
fn read(root: &Item<'_>, base: &Path) -> Option<ServerConfig> {
    let mut fields = root.fields(&schema::ROOT)?;
    let listen = match fields.optional("listen") {
        Some(item) => item.read(socket_address),
        None => Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))),
    };
    let hosts = fields.required("hosts").map(|item| hosts(&item)).unwrap_or_default();
    let operators = fields.optional("operators").map(|item| operators(&item)).unwrap_or_default();
    let limits = fields.optional("limits").map(|item| ServerLimits::read(&item)).unwrap_or_default();
    let access_log = match fields.optional("access_log") {
        Some(item) => access_log(&item, base),
        None => Some(AccessLog::default()),
    };
    let metrics_item = fields.optional("metrics");
    let metrics = metrics_item.as_ref().and_then(|item| item.read(socket_address));
    if let (Some(item), Some(metrics), Some(listen)) = (&metrics_item, metrics, listen)
        && collide(listen, metrics)
    {
        item.report(ServerConfigError::MetricsAddress);
    }
    fields.finish();
    Some(ServerConfig { listen: listen?, hosts, operators, limits, access_log: access_log?, metrics })
}

fn hosts(item: &Item<'_>) -> Vec<Host> {
    let items = item.one_or_more();
    if items.is_empty() {
        item.report(ServerConfigError::NoHost);
    }
    let mut hosts: Vec<Host> = Vec::with_capacity(items.len());
    for item in items {
        let Some(host) = item.read(str::parse) else { continue };
        if hosts.contains(&host) {
            item.report(ServerConfigError::Repeated);
        }
        hosts.push(host);
    }
    hosts
}

fn operators(item: &Item<'_>) -> Vec<Operator> {
    let mut operators: Vec<Operator> = Vec::new();
    for item in item.list().unwrap_or_default() {
        let Some(mut fields) = item.fields(&schema::OPERATOR) else { continue };
        let identity_item = fields.required("identity");
        let identity = identity_item.as_ref().and_then(|item| item.read(role_and_name));
        let role = fields.required("role").and_then(|item| item.read(str::parse));
        fields.finish();
        let (Some((certificate_role, name)), Some(role)) = (identity, role) else { continue };
        let is_same = |one: &&Operator| one.certificate_role == certificate_role && one.name == name;
        if let (Some(item), Some(_)) = (&identity_item, operators.iter().find(is_same)) {
            item.report(ServerConfigError::Repeated);
        }
        operators.push(Operator { certificate_role, name, role });
    }
    operators
}
