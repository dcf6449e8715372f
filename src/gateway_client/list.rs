//! Gateways of a cluster, as listed in `gateways.yaml`.
//!
//! ```yaml
//! operator: api-user/admin
//! gateways:
//!   - address: gw1.example.com:4523
//!   - address: 10.0.0.5:4523
//!     server_name: gw2.example.com
//!     identity: control-service/gw2.example.com
//! ```

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::{Code, Coded};
use crate::file_schema::{FileSchema, KeySchema, MappingSchema};
use crate::identity::{CONTROL_SERVICE_DNS_NAME, Host, Name, Role, role_and_name};
use crate::probe::Endpoint;
use crate::yaml::{Document, Place, YamlProblem};

/// Gateway as listed in `gateways.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayEntry {
    /// Address to connect to.
    pub address: Endpoint,
    /// Host expected in its certificate; by default the host of the address.
    pub server_name: Option<Host>,
    /// Name of its control-service identity; by default any that is valid for the host.
    pub name: Option<Name>,
}

impl GatewayEntry {
    /// Entry for a gateway that is not listed: its certificate must name the host of `address`.
    #[must_use]
    pub const fn at(address: Endpoint) -> Self {
        Self { address, server_name: None, name: None }
    }

    /// Host expected in the gateway's certificate.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.server_name.as_ref().unwrap_or(&self.address.host)
    }
}

/// Content of `gateways.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayList {
    /// Identity that the CA calls gateways with.
    pub operator: Option<(Role, Name)>,
    /// Gateways, in the order of the file.
    pub gateways: Vec<GatewayEntry>,
}

/// Keys of `gateways.yaml`.
pub static GATEWAY_LIST_FILE: FileSchema = FileSchema {
    name: GatewayList::FILE,
    about: "gateways that cluster-ca calls",
    notes: &["The file is in the CA's home. Unknown keys are errors. Maximum size: 1 MiB."],
    mappings: &[
        &MappingSchema {
            path: "",
            keys: &[
                KeySchema::optional(
                    "operator",
                    "ROLE/NAME",
                    "--operator or --operator-cert is needed",
                    "Identity whose certificate and key in issued/ the CA presents.",
                ),
                KeySchema::required("gateways", "list of gateways, at least one", "Gateways."),
            ],
        },
        &MappingSchema {
            path: "gateways[]",
            keys: &[
                KeySchema::required("address", "HOST:PORT", "Address of the gateway."),
                KeySchema::optional(
                    "server_name",
                    "host name or IP address",
                    "the host of the address",
                    "Name that the gateway's certificate must have.",
                ),
                KeySchema::optional(
                    "identity",
                    "control-service/NAME",
                    "any control service with that name",
                    "Identity that the gateway's certificate must have.",
                ),
            ],
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewaysFile {
    operator: Option<String>,
    gateways: Vec<EntryFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFields {
    address: String,
    server_name: Option<String>,
    identity: Option<String>,
}

impl GatewayList {
    /// Name of the file in a CA home.
    pub const FILE: &str = "gateways.yaml";

    /// Largest size accepted, in bytes; enough for about ten thousand gateways.
    pub const LIMIT: u64 = 1 << 20;

    /// Parse the file; error texts call it `file`.
    ///
    /// # Errors
    /// [`GatewayListError`] with every problem of the file.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, GatewayListError> {
        let document = Document::parse_within(Self::LIMIT, file, bytes).map_err(GatewayListError::one)?;
        let GatewaysFile { operator, gateways } = document.deserialize().map_err(GatewayListError::one)?;
        let mut problems = Vec::new();
        let operator = operator.and_then(|text| {
            let read = role_and_name(&text).map_err(|error| document.at("operator").problem(error));
            read.map_err(|problem| problems.push(problem)).ok()
        });
        if gateways.is_empty() {
            // With an empty list, a wait for all gateways would report success.
            problems.push(document.at("gateways").problem("no gateway is listed"));
        }
        let mut taken = HashMap::new();
        let mut read = Vec::with_capacity(gateways.len());
        for (index, entry) in gateways.iter().enumerate() {
            let place = document.at("gateways").at(index);
            match gateway(entry, &place) {
                Ok(gateway) => {
                    if let Some(earlier) = taken.insert(gateway.address.clone(), index) {
                        problems.push(place.at("address").problem(format_args!(
                            "{} is already listed as gateways[{earlier}]",
                            gateway.address
                        )));
                    }
                    read.push(gateway);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() {
            Ok(Self { operator, gateways: read })
        } else {
            Err(GatewayListError { problems })
        }
    }

    /// The listed gateway at `address`, or an entry with defaults.
    #[must_use]
    pub fn at(&self, address: &Endpoint) -> GatewayEntry {
        let listed = self.gateways.iter().find(|gateway| gateway.address == *address);
        listed.cloned().unwrap_or_else(|| GatewayEntry::at(address.clone()))
    }
}

/// Parse one entry; returns all its problems on failure.
fn gateway(entry: &EntryFields, place: &Place<'_>) -> Result<GatewayEntry, Vec<YamlProblem>> {
    let address = entry.address.parse::<Endpoint>().map_err(|error| place.at("address").problem(error));
    let server_name = entry.server_name.as_deref().map(str::parse::<Host>).transpose();
    let server_name = server_name.map_err(|error| place.at("server_name").problem(error));
    let name = entry.identity.as_deref().map(|text| control_service(text, &place.at("identity"))).transpose();
    if let (Ok(Some(Host::Dns(server_name))), Ok(None)) = (&server_name, &name)
        && server_name == CONTROL_SERVICE_DNS_NAME
    {
        let message = "every control-service has this name: `identity` must tell which one is meant";
        return Err(vec![place.at("server_name").problem(message)]);
    }
    match (address, server_name, name) {
        (Ok(address), Ok(server_name), Ok(name)) => Ok(GatewayEntry { address, server_name, name }),
        (address, server_name, name) => {
            Err([address.err(), server_name.err(), name.err()].into_iter().flatten().collect())
        }
    }
}

/// Parse `control-service/NAME`.
fn control_service(text: &str, place: &Place<'_>) -> Result<Name, YamlProblem> {
    match role_and_name(text) {
        Ok((Role::GATEWAY, name)) => Ok(name),
        Ok((role, _)) => Err(place.problem(format_args!("a gateway is a {}, not a {role}", Role::GATEWAY))),
        Err(error) => Err(place.problem(error)),
    }
}

/// Problems of a `gateways.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of gateways is invalid{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct GatewayListError {
    /// Problems, each with file and line.
    pub problems: Vec<YamlProblem>,
}

impl GatewayListError {
    fn one(problem: YamlProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Coded for GatewayListError {
    fn coded(&self) -> Code {
        Code::refused("input.gateways")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let error = GatewayList::parse("gateways.yaml", text.as_bytes()).unwrap_err();
        error.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn gateways_are_read_in_their_order() {
        let text = "operator: api-user/admin
gateways:
  - address: gw1.example.com:4523
  - address: '[::1]:4523'
    server_name: gw2.example.com
    identity: control-service/gw2.example.com
";
        let read = GatewayList::parse("gateways.yaml", text.as_bytes()).unwrap();
        assert_eq!(read.operator.as_ref().unwrap().0, Role::ApiUser);
        let [first, second] = read.gateways.as_slice() else { panic!("{read:?}") };
        assert_eq!(
            (first.address.to_string(), first.host().to_string()),
            ("gw1.example.com:4523".into(), "gw1.example.com".into())
        );
        assert_eq!(
            (second.address.to_string(), second.host().to_string()),
            ("[::1]:4523".into(), "gw2.example.com".into())
        );
        assert_eq!(second.name.as_ref().unwrap().as_str(), "gw2.example.com");
        assert_eq!(read.at(&second.address), *second);
        assert_eq!(read.at(&"other:1".parse().unwrap()).host().to_string(), "other");
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let text = "operator: admin
gateways:
  - address: gw1.example.com
  - address: gw2.example.com:4523
    server_name: 'a b'
    identity: api-user/admin
  - address: gw3.example.com:1
  - address: GW3.example.com:1
  - address: gw4.example.com:1
    server_name: control-service
";
        let problems = problems(text);
        for (index, start) in [
            "gateways.yaml:1: operator: ",
            "gateways.yaml:3: gateways[0].address: ",
            "gateways.yaml:5: gateways[1].server_name: ",
            "gateways.yaml:6: gateways[1].identity: a gateway is a control-service",
            "gateways.yaml:8: gateways[3].address: gw3.example.com:1 is already listed as gateways[2]",
            "gateways.yaml:10: gateways[4].server_name: every control-service has this name",
        ]
        .iter()
        .enumerate()
        {
            assert!(problems[index].starts_with(start), "{start}: {problems:#?}");
        }
        assert_eq!(problems.len(), 6, "{problems:#?}");
    }

    #[test]
    fn an_empty_list_and_unknown_or_missing_keys_are_refused() {
        assert_eq!(problems("gateways: []\n"), ["gateways.yaml:1: gateways: no gateway is listed"]);
        let unknown = problems("gateways:\n  - address: a:1\n    adress: b:1\n");
        assert!(
            unknown[0].starts_with("gateways.yaml:3:") && unknown[0].contains("unknown field `adress`"),
            "{unknown:?}"
        );
        assert!(problems("gateways:\n  - server_name: a\n")[0].contains("missing field `address`"));
        assert!(problems("operator: api-user/admin\n")[0].contains("missing field `gateways`"));
        assert!(problems("")[0].starts_with("gateways.yaml"));
    }

    #[test]
    fn the_reader_and_the_manual_page_have_the_same_keys() {
        for (mapping, text) in GATEWAY_LIST_FILE.mappings.iter().zip(["x: 1\n", "gateways: [{ x: 1 }]\n"]) {
            let problems = problems(text);
            // Each key that serde knows stands between backticks, the unknown one too.
            assert_eq!(problems[0].matches('`').count(), 2 * (mapping.keys.len() + 1), "{problems:?}");
            for key in mapping.keys {
                assert!(problems[0].contains(&format!("`{}`", key.name)), "{}: {problems:?}", key.name);
            }
        }
    }
}
