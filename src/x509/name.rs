//! Distinguished names of subjects and issuers.

use std::fmt;

use serde::Serialize;
use x509_parser::oid_registry::{
    OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME,
    OID_X509_ORGANIZATIONAL_UNIT, OID_X509_STATE_OR_PROVINCE_NAME,
};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::hex::hex;

/// Distinguished name of a subject or issuer. Its text follows RFC 4514.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DistinguishedName {
    /// DER of the name, for comparison.
    pub der: Vec<u8>,
    /// Common names in order.
    pub common_names: Vec<String>,
    /// Organizational units in order.
    pub organizational_units: Vec<String>,
    text: String,
}

impl DistinguishedName {
    /// True without any attribute.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn read(name: &X509Name<'_>) -> Self {
        // A value in an unsupported encoding is kept, so that it counts as an attribute.
        let value = |attribute: &AttributeTypeAndValue<'_>| match attribute.as_str() {
            Ok(text) => text.to_owned(),
            Err(_) => format!("#{}", hex(attribute.as_slice())),
        };
        let all = |oid| name.iter_by_oid(oid).map(value).collect();
        let text = name
            .iter_attributes()
            .map(|attribute| {
                let oid = attribute.attr_type();
                let known = [
                    (OID_X509_COMMON_NAME, "CN"),
                    (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
                    (OID_X509_ORGANIZATION_NAME, "O"),
                    (OID_X509_COUNTRY_NAME, "C"),
                    (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
                    (OID_X509_LOCALITY_NAME, "L"),
                ];
                let known = known.iter().find(|(known, _)| known == oid);
                let mut text = known.map_or_else(|| oid.to_id_string(), |(_, short)| (*short).to_owned());
                text.push('=');
                match attribute.as_str() {
                    Ok(value) => push_escaped(&mut text, value),
                    Err(_) => text.extend(["#", &hex(attribute.as_slice())]),
                }
                text
            })
            .collect::<Vec<_>>()
            .join(", ");
        Self {
            der: name.as_raw().to_vec(),
            common_names: all(&OID_X509_COMMON_NAME),
            organizational_units: all(&OID_X509_ORGANIZATIONAL_UNIT),
            text,
        }
    }
}

/// Escape a value as RFC 4514 does, and control and non-ASCII characters as well, because it is logged.
pub(super) fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    push_escaped(&mut text, value);
    text
}

fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            ',' | '+' | '=' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            _ => text.extend(c.escape_default()),
        }
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for DistinguishedName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
