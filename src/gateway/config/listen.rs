//! Listeners in the configuration.

use uuid::Uuid;

use super::error::ConfigError;
use super::schema;
use crate::mtls::{ClientCertificate, IdentityForm, Listener};
use crate::yaml::reader::Item;
use crate::yaml::values::socket_address;

/// Read all listeners, each an address or a mapping.
pub(super) fn listeners(item: &Item<'_>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let items = item.one_or_more();
    if items.is_empty() {
        item.report(ConfigError::NoAddress);
    }
    for item in items {
        let Some(listener) = listener(&item) else { continue };
        if listeners.iter().any(|other| other.address == listener.address) {
            item.report(ConfigError::Repeated);
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(item: &Item<'_>) -> Option<Listener> {
    if !item.is_mapping() {
        let client_certificate = ClientCertificate::default();
        return Some(Listener {
            address: item.read(socket_address)?,
            client_certificate,
            identity_form: IdentityForm::default(),
        });
    }
    let mut fields = item.fields(&schema::LISTENER)?;
    let address = fields.required("address").and_then(|item| item.read(socket_address));
    let client_certificate = match fields.optional("client_certificate") {
        Some(item) => item.read(client_certificate),
        None => Some(ClientCertificate::default()),
    };
    let form = fields.optional("identity");
    let cluster = fields.optional("cluster");
    fields.finish();
    Some(Listener {
        address: address?,
        client_certificate: client_certificate?,
        identity_form: identity_form(item, form.as_ref(), cluster.as_ref())?,
    })
}

fn client_certificate(text: &str) -> Result<ClientCertificate, ConfigError> {
    match text {
        "optional" => Ok(ClientCertificate::Optional),
        "required" => Ok(ClientCertificate::Required),
        _ => Err(ConfigError::ClientCertificate { given: text.to_owned() }),
    }
}

fn identity_form(
    listener: &Item<'_>,
    form: Option<&Item<'_>>,
    cluster: Option<&Item<'_>>,
) -> Option<IdentityForm> {
    let is_flocker = match form {
        Some(form) => form.read(|text| match text {
            "flocker" => Ok(true),
            "spiffe" => Ok(false),
            _ => Err(ConfigError::IdentityForm { given: text.to_owned() }),
        })?,
        None => false,
    };
    match (is_flocker, cluster) {
        (true, Some(cluster)) => {
            let uuid = |text: &str| {
                let uuid = text.parse::<Uuid>().ok().filter(|uuid| uuid.hyphenated().to_string() == text);
                uuid.ok_or_else(|| ConfigError::Cluster { given: text.to_owned() })
            };
            Some(IdentityForm::Flocker { cluster: cluster.read(uuid)? })
        }
        (true, None) => {
            listener.report(ConfigError::NoCluster);
            None
        }
        (false, Some(cluster)) => {
            cluster.report(ConfigError::ClusterUnused);
            None
        }
        (false, None) => Some(IdentityForm::Spiffe),
    }
}
