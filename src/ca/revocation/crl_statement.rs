//! Statement of the root about a long CRL, in a small file beside it.
//!
//! A CRL of a million entries takes a quarter of a second to read and verify. A command that signs certificates needs
//! the anchor of the audit chain in it, and not the entries. The statement repeats the anchor, and identifies the CRL
//! file by its length and its end, which has the CRL number and the signature. Without a statement, or with that of
//! another CRL, the CRL is read.
//!
//! ```text
//! CrlStatement ::= SEQUENCE {           -- in a SIGNED{} of X.509, by the root
//!     purpose    UTF8String,            -- so that the signature is of no use as that of a certificate or CRL
//!     number     INTEGER,
//!     thisUpdate INTEGER,               -- seconds since 1970-01-01 UTC
//!     nextUpdate INTEGER,
//!     sha256     OCTET STRING,          -- of the CRL (DER)
//!     fileLength INTEGER,
//!     fileEnd    OCTET STRING,          -- SHA-256 of the last 1,024 octets of the file
//!     anchor     AuditAnchor }
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rcgen::SigningKey;

use super::audit_anchor::AuditAnchor;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::ca::signing::{signature_algorithm, signing_failed};
use crate::files::{self, Access, Placement};
use crate::store::CurrentCrl;
use crate::x509::der::{Reader, element, integer, tag};
use crate::x509::{Certificate, Sha256, Signed, pem};

/// A CRL with at most as many entries has no statement, and all revocations are compared with it at each opening.
pub(in crate::ca) const SHORT_CRL: usize = 2_000;

const PURPOSE: &str = "cluster-ca CRL statement 1";
const LABEL: &str = "CLUSTER CRL STATEMENT";

/// Statement about a CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ca) struct CrlStatement {
    number: u64,
    this_update: u64,
    next_update: u64,
    sha256: Sha256,
    file: FileEnd,
    pub(in crate::ca) anchor: AuditAnchor,
}

/// Length and end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileEnd {
    length: u64,
    end: Sha256,
}

impl FileEnd {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut end = [0; 1_024];
        file.read_exact_at(&mut end, length.saturating_sub(1_024))?;
        Ok(Self { length, end: Sha256::of(&end) })
    }
}

impl CrlStatement {
    /// Read the statement about the CRL in the home. `None` if there is none that the root signed for this file.
    pub(in crate::ca) fn read(home: &Home, root: &Certificate) -> Option<Self> {
        let block = pem::only_block(&files::read(&home.crl_statement(), files::SMALL_FILE).ok()?).ok()?;
        let signed = Signed::from_der(block.der()).ok()?;
        signed.verify(&root.public_key_info).ok()?;
        let statement = Self::from_body(signed.body)?;
        let is_about_file = FileEnd::of(&home.crl()).is_ok_and(|file| file == statement.file);
        (block.label == LABEL && is_about_file).then_some(statement)
    }

    /// True for the CRL that the inventory records.
    pub(in crate::ca) fn is_about(&self, crl: &CurrentCrl) -> bool {
        let dates = [crl.this_update, crl.next_update].map(|at| u64::try_from(at.unix_timestamp()));
        (self.number, self.sha256) == (crl.number, crl.sha256)
            && dates == [Ok(self.this_update), Ok(self.next_update)]
    }

    /// Write a statement about the CRL that was just published.
    pub(in crate::ca) fn write(
        home: &Home,
        crl: &CurrentCrl,
        anchor: AuditAnchor,
        key: &impl SigningKey,
    ) -> Result<(), CaError> {
        let file = FileEnd::of(&home.crl()).map_err(|source| files::FileError::Io {
            doing: "read",
            path: home.crl(),
            source,
        })?;
        let mut fields = element(tag::UTF8_STRING, PURPOSE.as_bytes());
        let [this_update, next_update] = [crl.this_update, crl.next_update].map(|at| at.unix_timestamp());
        integer(&mut fields, &crl.number.to_be_bytes());
        integer(&mut fields, &this_update.to_be_bytes());
        integer(&mut fields, &next_update.to_be_bytes());
        fields.extend(element(tag::OCTET_STRING, &crl.sha256.0));
        integer(&mut fields, &file.length.to_be_bytes());
        fields.extend(element(tag::OCTET_STRING, &file.end.0));
        fields.extend(anchor.to_der());
        let mut signed = element(tag::SEQUENCE, &fields);
        let signature = key.sign(&signed).map_err(signing_failed)?;
        signed.extend(element(tag::SEQUENCE, &signature_algorithm(key)?));
        signed.extend(element(tag::BIT_STRING, &[&[0], signature.as_slice()].concat()));
        let text = pem::pem(LABEL, &element(tag::SEQUENCE, &signed));
        let path = home.crl_statement();
        Ok(files::write(&path, Access::Public, Placement::Replace, text.as_bytes())?)
    }

    /// Remove the statement about an earlier CRL, which would be passed over.
    pub(in crate::ca) fn remove(home: &Home) {
        let _ = fs::remove_file(home.crl_statement());
    }

    fn from_body(body: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(Reader::whole(body, tag::SEQUENCE).ok()?);
        if fields.expect(tag::UTF8_STRING).ok()? != PURPOSE.as_bytes() {
            return None;
        }
        let [number, this_update, next_update] =
            [number(&mut fields)?, number(&mut fields)?, number(&mut fields)?];
        let sha256 = digest(&mut fields)?;
        let file = FileEnd { length: self::number(&mut fields)?, end: digest(&mut fields)? };
        let anchor = AuditAnchor::from_der(fields.element().ok()?.raw)?;
        fields.end().ok()?;
        Some(Self { number, this_update, next_update, sha256, file, anchor })
    }
}

fn number(fields: &mut Reader<'_>) -> Option<u64> {
    let octets = fields.expect(tag::INTEGER).ok()?;
    octets.iter().try_fold(0_u64, |number, octet| number.checked_mul(256)?.checked_add(u64::from(*octet)))
}

fn digest(fields: &mut Reader<'_>) -> Option<Sha256> {
    Some(Sha256(fields.expect(tag::OCTET_STRING).ok()?.try_into().ok()?))
}
