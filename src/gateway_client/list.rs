//! `gateways.yaml`: where the gateways are, and as whom the CA calls them.
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

use crate::identity::{CONTROL_SERVICE_DNS_NAME, Host, Name, Role, role_and_name};
use crate::probe::Endpoint;
use crate::yaml::{Document, Place, Problem};

/// One gateway, and who has to answer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Where it listens.
    pub address: Endpoint,
    /// The host that its certificate must name, where that is not the one in the address.
    pub server_name: Option<Host>,
    /// The control service that it must be; by default any that has the name.
    pub name: Option<Name>,
}

impl Gateway {
    /// The gateway at `address`, whose certificate names the host in it.
    #[must_use]
    pub const fn at(address: Endpoint) -> Self {
        Self { address, server_name: None, name: None }
    }

    /// The host that its certificate must name.
    #[must_use]
    pub fn host(&self) -> &Host {
        self.server_name.as_ref().unwrap_or(&self.address.host)
    }
}

/// Every gateway of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateways {
    /// Whose certificate and key the CA calls with.
    pub operator: Option<(Role, Name)>,
    /// The gateways, in the order of the file.
    pub gateways: Vec<Gateway>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewaysFile {
    operator: Option<String>,
    gateways: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: String,
    server_name: Option<String>,
    identity: Option<String>,
}

impl Gateways {
    /// The file's name in a home.
    pub const FILE: &str = "gateways.yaml";

    /// The most bytes that the file may have: some ten thousand gateways.
    pub const LIMIT: u64 = 1 << 20;

    /// Reads the file, which messages call `file`.
    ///
    /// # Errors
    /// [`GatewaysError`] with all that is wrong, each with its line.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, GatewaysError> {
        let document = Document::parse_within(Self::LIMIT, file, bytes).map_err(GatewaysError::one)?;
        let GatewaysFile { operator, gateways } = document.deserialize().map_err(GatewaysError::one)?;
        let mut problems = Vec::new();
        let operator = operator.and_then(|text| {
            let read = role_and_name(&text).map_err(|error| document.at("operator").problem(error));
            read.map_err(|problem| problems.push(problem)).ok()
        });
        if gateways.is_empty() {
            // Whoever waits for none of none would be told that everything is enforced.
            problems.push(document.at("gateways").problem("no gateway is listed"));
        }
        let mut taken = HashMap::new();
        let mut read = Vec::with_capacity(gateways.len());
        for (index, entry) in gateways.iter().enumerate() {
            let place = document.at("gateways").at(index);
            match gateway(entry, &place) {
                Ok(gateway) => {
                    if let Some(earlier) = taken.insert(gateway.address.clone(), index) {
                        problems.push(
                            place
                                .at("address")
                                .problem(format_args!("{} is gateways[{earlier}] already", gateway.address)),
                        );
                    }
                    read.push(gateway);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() {
            Ok(Self { operator, gateways: read })
        } else {
            Err(GatewaysError { problems })
        }
    }

    /// The gateway at an address: as it is listed, if it is.
    #[must_use]
    pub fn at(&self, address: &Endpoint) -> Gateway {
        let listed = self.gateways.iter().find(|gateway| gateway.address == *address);
        listed.cloned().unwrap_or_else(|| Gateway::at(address.clone()))
    }
}

/// All that is wrong with an entry, or what it says.
fn gateway(entry: &Entry, place: &Place<'_>) -> Result<Gateway, Vec<Problem>> {
    let address = entry.address.parse::<Endpoint>().map_err(|error| place.at("address").problem(error));
    let server_name = entry.server_name.as_deref().map(str::parse::<Host>).transpose();
    let server_name = server_name.map_err(|error| place.at("server_name").problem(error));
    let name = entry.identity.as_deref().map(|text| control_service(text, &place.at("identity"))).transpose();
    if let (Ok(Some(Host::Dns(server_name))), Ok(None)) = (&server_name, &name)
        && server_name == CONTROL_SERVICE_DNS_NAME
    {
        let message = "every control service has this name: say which one with `identity`";
        return Err(vec![place.at("server_name").problem(message)]);
    }
    match (address, server_name, name) {
        (Ok(address), Ok(server_name), Ok(name)) => Ok(Gateway { address, server_name, name }),
        (address, server_name, name) => {
            Err([address.err(), server_name.err(), name.err()].into_iter().flatten().collect())
        }
    }
}

/// The name in `control-service/NAME`.
fn control_service(text: &str, place: &Place<'_>) -> Result<Name, Problem> {
    match role_and_name(text) {
        Ok((Role::ControlService, name)) => Ok(name),
        Ok((role, _)) => Err(place.problem(format_args!("a gateway is a control-service, not a {role}"))),
        Err(error) => Err(place.problem(error)),
    }
}

/// What is wrong with a `gateways.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of gateways cannot be used{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub struct GatewaysError {
    /// Each problem, with its file and line.
    pub problems: Vec<Problem>,
}

impl GatewaysError {
    fn one(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "input.gateways"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let error = Gateways::parse("gateways.yaml", text.as_bytes()).unwrap_err();
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
        let read = Gateways::parse("gateways.yaml", text.as_bytes()).unwrap();
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
    fn every_mistake_is_told_with_its_line() {
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
            "gateways.yaml:8: gateways[3].address: gw3.example.com:1 is gateways[2] already",
            "gateways.yaml:10: gateways[4].server_name: every control service has this name",
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
}
