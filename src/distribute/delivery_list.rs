//! Deliveries of a cluster, as listed in `hosts.yaml`.
//!
//! ```yaml
//! deliveries:
//!   - identity: control-service/api.example.com
//!     to: root@api.example.com:/etc/cluster
//!     reload: systemctl reload control-service
//!   - identity: api-user/plugin
//!     to: root@api.example.com:/etc/cluster
//!     as: plugin
//! ```

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::installation::{AccountName, Installation, KeyMode, PrivilegeProgram};
use super::package::FileStem;
use super::script::ReloadCommand;
use super::ssh_destination::SshDestination;
use crate::error::{Code, Coded};
use crate::file_schema::{FileSchema, KeySchema, MappingSchema};
use crate::identity::{Name, Role, role_and_name};
use crate::yaml::{Document, Place, YamlProblem};

/// Delivery of one identity's files to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Role of the identity.
    pub role: Role,
    /// Name of the identity within its role.
    pub name: Name,
    /// Machine and directory.
    pub destination: SshDestination,
    /// File name of certificate and key there; by default that of the role.
    pub stem: FileStem,
    /// Command to run there afterwards.
    pub reload: Option<ReloadCommand>,
    /// Ownership of the files.
    pub installation: Installation,
}

/// Content of `hosts.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryList(Vec<Delivery>);

/// Keys of `hosts.yaml`.
pub static DELIVERY_LIST_FILE: FileSchema = FileSchema {
    name: DeliveryList::FILE,
    about: "deliveries of cluster-ca distribute",
    notes: &["The file is in the CA's home. Unknown keys are errors. Maximum size: 2 MiB."],
    mappings: &[
        &MappingSchema {
            path: "",
            keys: &[KeySchema::required("deliveries", "list of deliveries", "Deliveries, in any order.")],
        },
        &MappingSchema {
            path: "deliveries[]",
            keys: &[
                KeySchema::required("identity", "ROLE/NAME", "Identity whose newest certificate is copied."),
                KeySchema::required("to", "[USER@]HOST[:PORT]:/DIRECTORY", "Destination."),
                KeySchema::optional(
                    "as",
                    "file name without extension",
                    "control-service, node or user, by role",
                    "Name of certificate and key there.",
                ),
                KeySchema::optional(
                    "owner",
                    "account",
                    "the owner of the directory",
                    "Account that directory and files belong to. The login must be root, or that account.",
                ),
                KeySchema::optional(
                    "group",
                    "group",
                    "the group of the directory",
                    "Group of directory (0750) and files.",
                ),
                KeySchema::optional("mode", "0600, 0400, 0640 or 0440", "0600", "Mode of the private key."),
                KeySchema::optional(
                    "become",
                    "sudo",
                    "the login is used as it is",
                    "Program that gives the login the rights of root, without a password.",
                ),
                KeySchema::optional(
                    "reload",
                    "shell command",
                    "nothing runs",
                    "Command that runs there after the files are in place.",
                ),
            ],
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostsFile {
    deliveries: Vec<EntryFields>,
}

/// Entry as it is written. What has its default value is left out.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryFields {
    identity: String,
    to: String,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    stem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(rename = "become", skip_serializing_if = "Option::is_none")]
    privilege: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<String>,
}

impl EntryFields {
    pub(super) fn of(delivery: &Delivery) -> Self {
        let Delivery { role, name, destination, stem, reload, installation } = delivery;
        let Installation { owner, group, key_mode, privilege } = installation;
        let account = |name: &Option<AccountName>| name.as_ref().map(|name| name.as_str().to_owned());
        Self {
            identity: format!("{role}/{name}"),
            to: destination.to_string(),
            stem: (*stem != FileStem::of_role(*role)).then(|| stem.to_string()),
            owner: account(owner),
            group: account(group),
            mode: (*key_mode != KeyMode::default()).then(|| key_mode.to_string()),
            privilege: privilege.map(|program| program.to_string()),
            reload: reload.as_ref().map(|command| command.as_str().to_owned()),
        }
    }
}

/// The entry in the form of `hosts.yaml`.
impl Serialize for Delivery {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        EntryFields::of(self).serialize(serializer)
    }
}

impl DeliveryList {
    /// Name of the file in a CA home.
    pub const FILE: &'static str = "hosts.yaml";

    /// Largest size accepted, in bytes; enough for about ten thousand deliveries.
    pub const LIMIT: u64 = 2 << 20;

    /// Parse the file; error texts call it `file`.
    ///
    /// # Errors
    /// [`DeliveryListError`] with every problem of the file.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DeliveryListError> {
        let document = Document::parse_within(Self::LIMIT, file, bytes).map_err(DeliveryListError::one)?;
        Self::read(&document)
    }

    /// Read the list in a document.
    pub(super) fn read(document: &Document) -> Result<Self, DeliveryListError> {
        let HostsFile { deliveries } = document.deserialize().map_err(DeliveryListError::one)?;
        let mut problems = Vec::new();
        let mut taken = HashSet::new();
        let mut read = Vec::with_capacity(deliveries.len());
        for (index, entry) in deliveries.iter().enumerate() {
            let place = document.at("deliveries").at(index);
            match delivery(entry, &place) {
                Ok(delivery) if taken.insert((delivery.destination.clone(), delivery.stem.clone())) => {
                    read.push(delivery);
                }
                Ok(delivery) => problems.push(place.at("to").problem(format_args!(
                    "two deliveries write files called {} to {}: give one another name with `as`",
                    delivery.stem, delivery.destination
                ))),
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() { Ok(Self(read)) } else { Err(DeliveryListError { problems }) }
    }

    /// Deliveries, in the order of the file.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.0
    }
}

/// Parse one entry; returns all its problems on failure.
fn delivery(entry: &EntryFields, place: &Place<'_>) -> Result<Delivery, Vec<YamlProblem>> {
    let identity = role_and_name(&entry.identity).map_err(|error| place.at("identity").problem(error));
    let destination = entry.to.parse::<SshDestination>().map_err(|error| place.at("to").problem(error));
    let stem = entry.stem.as_deref().map(str::parse::<FileStem>).transpose();
    let stem = stem.map_err(|error| place.at("as").problem(error));
    let reload = entry.reload.as_deref().map(str::parse::<ReloadCommand>).transpose();
    let reload = reload.map_err(|error| place.at("reload").problem(error));
    let installation = installation(entry, place);
    match (identity, destination, stem, reload, installation) {
        (Ok((role, name)), Ok(destination), Ok(stem), Ok(reload), Ok(installation)) => {
            let stem = stem.unwrap_or_else(|| FileStem::of_role(role));
            Ok(Delivery { role, name, destination, stem, reload, installation })
        }
        (identity, destination, stem, reload, installation) => {
            let own = [identity.err(), destination.err(), stem.err(), reload.err()];
            Err(own.into_iter().flatten().chain(installation.err().into_iter().flatten()).collect())
        }
    }
}

/// Parse the ownership of one entry; returns all its problems on failure.
fn installation(entry: &EntryFields, place: &Place<'_>) -> Result<Installation, Vec<YamlProblem>> {
    let account = |key: &str, text: &Option<String>| {
        let read = text.as_deref().map(str::parse::<AccountName>).transpose();
        read.map_err(|error| place.at(key).problem(error))
    };
    let (owner, group) = (account("owner", &entry.owner), account("group", &entry.group));
    let mode = entry.mode.as_deref().map(str::parse::<KeyMode>).transpose();
    let mode = mode.map_err(|error| place.at("mode").problem(error));
    let privilege = entry.privilege.as_deref().map(str::parse::<PrivilegeProgram>).transpose();
    let privilege = privilege.map_err(|error| place.at("become").problem(error));
    match (owner, group, mode, privilege) {
        (Ok(owner), Ok(group), Ok(mode), Ok(privilege)) => {
            Ok(Installation { owner, group, key_mode: mode.unwrap_or_default(), privilege })
        }
        (owner, group, mode, privilege) => {
            Err([owner.err(), group.err(), mode.err(), privilege.err()].into_iter().flatten().collect())
        }
    }
}

/// Problems of a `hosts.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of hosts is invalid{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct DeliveryListError {
    /// Problems, each with file and line.
    pub problems: Vec<YamlProblem>,
}

impl DeliveryListError {
    pub(super) fn one(problem: YamlProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Coded for DeliveryListError {
    fn coded(&self) -> Code {
        Code::refused("input.hosts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let error = DeliveryList::parse("hosts.yaml", text.as_bytes()).unwrap_err();
        error.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn deliveries_are_read_in_their_order() {
        let hosts = DeliveryList::parse(
            "hosts.yaml",
            b"deliveries:
  - identity: control-service/api.example.com
    to: root@api.example.com:/etc/cluster
    reload: systemctl reload control-service
  - identity: api-user/plugin
    to: root@api.example.com:/etc/cluster
    as: plugin
",
        )
        .unwrap();
        let [service, plugin] = hosts.deliveries() else { panic!("{hosts:?}") };
        assert_eq!((service.role, service.stem.as_str()), (Role::ControlService, "control-service"));
        assert_eq!(service.reload.as_ref().unwrap().as_str(), "systemctl reload control-service");
        assert_eq!((plugin.name.as_str(), plugin.stem.as_str()), ("plugin", "plugin"));
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let text = "deliveries:
  - identity: api-user/Alice
    to: node1
  - identity: alice
    to: -oProxyCommand=id:/etc/cluster
    as: cluster
    reload: \"a\\nb\"
";
        let problems = problems(text);
        let at = |index: usize, start: &str| assert!(problems[index].starts_with(start), "{problems:?}");
        at(0, "hosts.yaml:2: deliveries[0].identity: ");
        at(1, "hosts.yaml:3: deliveries[0].to: ");
        at(2, "hosts.yaml:4: deliveries[1].identity: ");
        at(3, "hosts.yaml:5: deliveries[1].to: ");
        at(4, "hosts.yaml:6: deliveries[1].as: ");
        at(5, "hosts.yaml:7: deliveries[1].reload: ");
        assert_eq!(problems.len(), 6);
    }

    #[test]
    fn an_unknown_or_missing_key_is_refused() {
        let unknown = "deliveries:\n  - identity: api-user/a\n    to: b:/c\n    relaod: x\n";
        assert!(problems(unknown)[0].contains("unknown field `relaod`"), "{:?}", problems(unknown));
        assert!(problems(unknown)[0].starts_with("hosts.yaml:4:"), "{:?}", problems(unknown));
        assert!(problems("deliveries:\n  - to: b:/c\n")[0].contains("identity"));
        assert!(problems("hosts: []\n")[0].contains("unknown field"));
    }

    #[test]
    fn two_deliveries_cannot_write_the_same_files() {
        let text = "deliveries:
  - {identity: api-user/a, to: 'b:/c'}
  - {identity: api-user/d, to: 'b:/c'}
";
        assert!(
            problems(text)[0].starts_with(
                "hosts.yaml:3: deliveries[1].to: two deliveries write files called user to b:/c"
            )
        );
        let apart = text.replace("d, to: 'b:/c'", "d, to: 'b:/c', as: d");
        assert!(DeliveryList::parse("hosts.yaml", apart.as_bytes()).is_ok());
    }

    #[test]
    fn the_reader_and_the_manual_page_have_the_same_keys() {
        for (mapping, text) in DELIVERY_LIST_FILE.mappings.iter().zip(["x: 1\n", "deliveries: [{ x: 1 }]\n"])
        {
            let problems = problems(text);
            // Each key that serde knows stands between backticks, the unknown one too.
            assert_eq!(problems[0].matches('`').count(), 2 * (mapping.keys.len() + 1), "{problems:?}");
            for key in mapping.keys {
                assert!(problems[0].contains(&format!("`{}`", key.name)), "{}: {problems:?}", key.name);
            }
        }
    }
}
