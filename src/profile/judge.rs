//! Whether what was signed is what was planned, and what a certification request wanted beyond it.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::plan::{LeafPlan, PlannedSubject, PolicyError, RootPlan};
use crate::clock::rfc3339;
use crate::x509::{
    BasicConstraints, Certificate, DistinguishedName, ExtendedKeyUsage, KeyAlgorithm, KeyUsage,
    SubjectAltName,
};

/// A field that says something other than planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The field, in the standard's word.
    pub field: &'static str,
    /// What the plan says.
    pub planned: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.field, self.found, self.planned)
    }
}

/// What a certification request asks for besides its key: read, shown, never copied.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its subject.
    pub subject: &'a DistinguishedName,
    /// The subject alternative names it asks for.
    pub subject_alt_names: &'a [SubjectAltName],
    /// Whether it asks to become an authority.
    pub asks_ca: bool,
    /// The key usage it asks for.
    pub key_usage: Option<KeyUsage>,
    /// The purposes it asks for.
    pub extended_key_usage: Option<&'a [ExtendedKeyUsage]>,
}

impl RootPlan {
    /// Compares a signed root with this plan.
    ///
    /// # Errors
    /// [`PolicyError::Mismatch`] with every field that differs: the certificate must not be let out.
    pub fn judge(&self, certificate: &Certificate) -> Result<(), PolicyError> {
        let constraints = BasicConstraints { critical: true, ca: true, path_length: Some(self.path_length) };
        let mut comparison = Comparison::default();
        comparison.subject(&self.subject, &certificate.subject);
        comparison.field("issuer", &self.subject.to_string(), &certificate.issuer.to_string(), String::clone);
        comparison.validity((self.not_before, self.not_after), certificate);
        comparison.key(self.key_algorithm, self.key_usage, certificate);
        comparison.constraints(constraints, certificate);
        comparison.names(&[], &certificate.subject_alt_names);
        comparison.purposes(None, certificate.extended_key_usage.as_deref());
        comparison.envelope(certificate);
        let authority =
            certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.clone());
        comparison.field(
            "authority_key_identifier",
            &certificate.subject_key_identifier,
            &authority,
            optional,
        );
        comparison.conclude()
    }
}

impl LeafPlan {
    /// Compares a signed certificate with this plan.
    ///
    /// That it has the right issuer, a good signature and the right public key is for whoever knows
    /// these to check.
    ///
    /// # Errors
    /// [`PolicyError::Mismatch`] with every field that differs: the certificate must not be let out.
    pub fn judge(&self, certificate: &Certificate) -> Result<(), PolicyError> {
        let constraints = BasicConstraints { critical: true, ca: false, path_length: None };
        let mut comparison = Comparison::default();
        comparison.subject(&self.subject, &certificate.subject);
        comparison.validity((self.not_before, self.not_after), certificate);
        comparison.key(self.key_algorithm, self.key_usage, certificate);
        comparison.constraints(constraints, certificate);
        comparison.names(&self.subject_alt_names, &certificate.subject_alt_names);
        comparison.purposes(Some(&self.extended_key_usage), certificate.extended_key_usage.as_deref());
        comparison.envelope(certificate);
        comparison.conclude()
    }

    /// What a certification request asks for that this plan does otherwise, for showing.
    ///
    /// # Errors
    /// [`PolicyError::AsksCa`] and [`PolicyError::AsksSan`]: whoever asks for these expects a
    /// certificate that means something else, and gets none.
    pub fn judge_request(&self, asked: &Asked<'_>) -> Result<Vec<Mismatch>, PolicyError> {
        if asked.asks_ca {
            return Err(PolicyError::AsksCa);
        }
        let planned =
            |asked: &SubjectAltName| self.subject_alt_names.iter().any(|name| same_name(name, asked));
        let beyond: Vec<_> = asked.subject_alt_names.iter().filter(|name| !planned(name)).cloned().collect();
        if !beyond.is_empty() {
            return Err(PolicyError::AsksSan { names: beyond });
        }
        let mut comparison = Comparison::default();
        if !asked.subject.to_string().is_empty() {
            comparison.subject(&self.subject, asked.subject);
        }
        if let Some(usage) = asked.key_usage {
            comparison.field("key_usage", &self.key_usage.bits, &usage.bits, |bits| {
                list(KeyUsage { critical: false, bits: *bits }.names())
            });
        }
        if asked.extended_key_usage.is_some() {
            comparison.purposes(Some(&self.extended_key_usage), asked.extended_key_usage);
        }
        Ok(comparison.mismatches)
    }
}

/// DNS names compare without case (RFC 4343); what is signed is lower-case in any event.
fn same_name(planned: &SubjectAltName, asked: &SubjectAltName) -> bool {
    match (planned, asked) {
        (SubjectAltName::Dns(planned), SubjectAltName::Dns(asked)) => planned.eq_ignore_ascii_case(asked),
        _ => planned == asked,
    }
}

/// Field by field, what differs between plan and certificate.
#[derive(Default)]
struct Comparison {
    mismatches: Vec<Mismatch>,
}

impl Comparison {
    fn field<T: PartialEq + ?Sized>(
        &mut self,
        field: &'static str,
        planned: &T,
        found: &T,
        show: impl Fn(&T) -> String,
    ) {
        if planned != found {
            self.mismatches.push(Mismatch { field, planned: show(planned), found: show(found) });
        }
    }

    /// A subject is compared as written: separators inside a value are escaped there.
    fn subject(&mut self, planned: &PlannedSubject, found: &DistinguishedName) {
        self.field("subject", &planned.to_string(), &found.to_string(), String::clone);
    }

    fn validity(&mut self, planned: (OffsetDateTime, OffsetDateTime), found: &Certificate) {
        self.field("not_before", &planned.0, &found.not_before, |time| rfc3339(*time));
        self.field("not_after", &planned.1, &found.not_after, |time| rfc3339(*time));
    }

    fn key(&mut self, algorithm: KeyAlgorithm, usage: KeyUsage, found: &Certificate) {
        self.field("key_algorithm", &Some(algorithm), &found.key_algorithm, optional);
        self.field("key_usage", &Some(usage), &found.key_usage, |usage| match usage {
            Some(usage) => critical(usage.critical, list(usage.names())),
            None => NONE.to_owned(),
        });
    }

    fn constraints(&mut self, planned: BasicConstraints, found: &Certificate) {
        self.field("basic_constraints", &Some(planned), &found.basic_constraints, |constraints| {
            match constraints {
                Some(BasicConstraints { critical: is_critical, ca, path_length }) => {
                    let path_length = path_length.map(|length| format!(", path length {length}"));
                    critical(*is_critical, format!("CA {ca}{}", path_length.unwrap_or_default()))
                }
                None => NONE.to_owned(),
            }
        });
    }

    fn names(&mut self, planned: &[SubjectAltName], found: &[SubjectAltName]) {
        self.field("subject_alt_name", planned, found, |names| list(names));
    }

    fn purposes(&mut self, planned: Option<&[ExtendedKeyUsage]>, found: Option<&[ExtendedKeyUsage]>) {
        self.field("extended_key_usage", &planned, &found, |purposes| list(purposes.unwrap_or_default()));
    }

    /// What every certificate has, whatever it is for (RFC 5280, sections 4.1.2.1, 4.2, 4.2.1.1).
    fn envelope(&mut self, found: &Certificate) {
        self.field("version", &3, &found.version, u32::to_string);
        self.field("unknown critical extensions", &Vec::new(), &found.unknown_critical_extensions, |found| {
            list(found)
        });
        let present = |present: &bool| if *present { "present" } else { NONE }.to_owned();
        self.field("subject_key_identifier", &true, &found.subject_key_identifier.is_some(), present);
        let names_a_key = found
            .authority_key_identifier
            .as_ref()
            .is_some_and(|authority| authority.key_identifier.is_some() && !authority.names_issuer);
        self.field("authority_key_identifier", &true, &names_a_key, present);
    }

    fn conclude(self) -> Result<(), PolicyError> {
        if self.mismatches.is_empty() {
            Ok(())
        } else {
            Err(PolicyError::Mismatch { mismatches: self.mismatches })
        }
    }
}

const NONE: &str = "none";

fn optional<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| NONE.to_owned(), T::to_string)
}

fn critical(critical: bool, text: String) -> String {
    if critical { format!("critical {text}") } else { format!("not critical {text}") }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { NONE.to_owned() } else { items.join(", ") }
}
