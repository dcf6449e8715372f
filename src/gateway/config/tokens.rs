//! Settings of access tokens: the statement that judges them, and the clients that may present them.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::schema;
use crate::yaml::reader::Item;
use crate::yaml::values::guarded;

/// Settings of access tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// File of the statement.
    pub statement: PathBuf,
    /// Clients that may present a token.
    pub clients: TokenClients,
}

/// Clients that may present a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenClients {
    /// Those with a certificate, as far as their listener requires one.
    #[default]
    Certificate,
    /// Any: on a listener that requires a certificate, a token stands in for it.
    Any,
}

impl TokenSettings {
    pub(super) fn read(item: &Item<'_>, base: &Path) -> Option<Self> {
        let mut fields = item.fields(&schema::TOKENS)?;
        let statement = fields.required("statement").and_then(|item| guarded(&item, base));
        let clients = match fields.optional("clients") {
            Some(item) => item.read(clients),
            None => Some(TokenClients::default()),
        };
        fields.finish();
        Some(Self { statement: statement?, clients: clients? })
    }
}

fn clients(text: &str) -> Result<TokenClients, ConfigError> {
    match text {
        "any" => Ok(TokenClients::Any),
        "certificate" => Ok(TokenClients::Certificate),
        _ => Err(ConfigError::TokenClients { given: text.to_owned() }),
    }
}
