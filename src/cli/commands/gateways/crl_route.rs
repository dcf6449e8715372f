//! Way of a new CRL to the gateways, when it was not pushed.

use std::fmt;

use crate::distribute::DeliveryList;
use crate::files;
use crate::identity::Role;

use super::target_args::{is_listed, listed};
use crate::cli::session::CommandSession;

/// Most places that are named.
const NAMED: usize = 5;

/// Way of a new CRL to the gateways of a home.
pub(crate) enum CrlRoute {
    /// `gateways.yaml` lists these addresses. It lists none if it cannot be read.
    Push(Vec<String>),
    /// `hosts.yaml` delivers the certificates of control services here, and the CRL with them.
    Delivery(Vec<String>),
    /// The home lists no gateway.
    Unknown,
}

impl CrlRoute {
    /// The way that the files of the home describe.
    pub(crate) fn of(session: &CommandSession) -> Self {
        if is_listed(session) {
            let gateways = listed(session).ok().flatten().map(|list| list.gateways).unwrap_or_default();
            return Self::Push(gateways.iter().map(|gateway| gateway.address.to_string()).collect());
        }
        let mut places: Vec<String> = Vec::new();
        for delivery in deliveries(session).iter().flat_map(DeliveryList::deliveries) {
            let place = delivery.destination.to_string();
            if delivery.role == Role::GATEWAY && !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() { Self::Unknown } else { Self::Delivery(places) }
    }

    /// Write where the gateways are, and the next command. `file` is the CRL.
    pub(crate) fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push(addresses) => {
                write_places("not there yet", addresses, "gateways.yaml", f)?;
                writeln!(f, "\nNext: cluster-ca crl push    (no gateway enforces it yet)")
            }
            Self::Delivery(places) => {
                write_places("not there yet", places, "hosts.yaml", f)?;
                writeln!(
                    f,
                    "\nNext: cluster-ca distribute --all    (a gateway reads the CRL again when its file changes)"
                )
            }
            Self::Unknown => {
                writeln!(f, "\nNext: copy the CRL to every gateway, for example")?;
                writeln!(f, "  scp {file} root@GATEWAY:/etc/cluster/")?;
                writeln!(f, "or list the gateways in gateways.yaml, and push it: cluster-ca crl push --help")
            }
        }
    }
}

fn write_places(label: &str, places: &[String], file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let first: Vec<&str> = places.iter().take(NAMED).map(String::as_str).collect();
    let more = match places.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match places.is_empty() {
        true => Ok(()),
        false => writeln!(f, "  {label}  {}{more}  ({file})", first.join(", ")),
    }
}

/// Deliveries of the home, if they can be read.
fn deliveries(session: &CommandSession) -> Option<DeliveryList> {
    let path = session.home().directory().join(DeliveryList::FILE);
    let bytes = files::read_write_protected(&path, DeliveryList::LIMIT).ok()?;
    DeliveryList::parse(&path.display().to_string(), &bytes).ok()
}
