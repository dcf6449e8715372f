//! Files that hold X.509 objects, as PEM (RFC 7468) or as bare DER.
//!
//! Text around and between blocks is allowed, as other tools write it; but nothing that looks like
//! a block is ever passed over: a damaged one makes the whole file an error, since a trust bundle
//! or a CRL file that silently lost a part would be believed.

use std::fmt;
use std::io::{self, BufWriter, Write};

use ::pem::{EncodeConfig, LineEnding, Pem};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::error::X509Error;
use crate::secret::Secret;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// What a file is expected to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Certificates.
    Certificate,
    /// Requests for one (PKCS#10).
    CertificationRequest,
    /// Certificate revocation lists.
    Crl,
}

impl Kind {
    /// The label of its PEM blocks.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::CertificationRequest => "CERTIFICATE REQUEST",
            Self::Crl => "X509 CRL",
        }
    }

    /// The kind that a label stands for; Netscape's old word for a request is still written by some.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        match label {
            "CERTIFICATE" => Some(Self::Certificate),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some(Self::CertificationRequest),
            "X509 CRL" => Some(Self::Crl),
            _ => None,
        }
    }

    /// What it is called in a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::CertificationRequest => "certification request",
            Self::Crl => "CRL",
        }
    }
}

/// One PEM block. Its content is kept as a secret, since it may be a private key.
pub struct Block {
    /// The words between `BEGIN` and the dashes.
    pub label: String,
    /// Whether its headers say that OpenSSL's old encryption hides the content.
    pub encrypted: bool,
    der: Secret,
}

impl Block {
    /// The decoded content.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.der.expose()
    }

    /// Whether the label says that it is a private key, of whatever form.
    #[must_use]
    pub fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("label", &self.label).finish_non_exhaustive()
    }
}

/// The certificates in a file, PEM or DER, in their order.
///
/// # Errors
/// [`X509Error`]: no certificate in it, something else in it (above all a private key), or a block
/// or certificate that cannot be read, with its place in the file.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, X509Error> {
    let blocks = blocks_of(Kind::Certificate, bytes)?;
    let alone = blocks.len() == 1;
    (1..)
        .zip(&blocks)
        .map(|(index, block)| {
            Certificate::from_der(block.der()).map_err(|source| match source {
                source if alone => source,
                source => X509Error::Block { index, source: Box::new(source) },
            })
        })
        .collect()
}

/// The objects in a file that must hold one or more of `kind` and nothing else: its PEM blocks, or
/// all of it as one block when it is bare DER.
///
/// # Errors
/// [`X509Error`]: none in it, something else in it (above all a private key), or a damaged block.
pub fn blocks_of(kind: Kind, bytes: &[u8]) -> Result<Vec<Block>, X509Error> {
    if is_der(bytes) {
        let der = Secret::new(bytes.to_vec());
        return Ok(vec![Block { label: kind.label().to_owned(), encrypted: false, der }]);
    }
    let wanted = kind.as_str();
    let blocks = blocks(bytes)?;
    if blocks.is_empty() {
        return Err(X509Error::NoBlock { wanted });
    }
    for (index, block) in (1..).zip(&blocks) {
        if block.is_private_key() {
            return Err(X509Error::PrivateKey { index, wanted });
        }
        if Kind::of_label(&block.label) != Some(kind) {
            let label = block.label.escape_debug().take(80).collect();
            return Err(X509Error::UnexpectedBlock { index, label, wanted });
        }
    }
    Ok(blocks)
}

/// Every PEM block in a text; none when it has none.
///
/// # Errors
/// [`X509Error::Pem`] with the place of the first block that cannot be read.
pub fn blocks(bytes: &[u8]) -> Result<Vec<Block>, X509Error> {
    let text = String::from_utf8_lossy(bytes);
    let mut starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    let first = starts.first().copied().unwrap_or(text.len());
    if text.get(..first).is_some_and(|before| before.contains(END)) {
        return Err(X509Error::Pem { index: 1, why: "it has an END line without a BEGIN line" });
    }
    starts.push(text.len());
    let parts = starts.iter().zip(starts.iter().skip(1)).filter_map(|(from, to)| text.get(*from..*to));
    (1..).zip(parts).map(|(index, part)| block(index, part)).collect()
}

/// Reads one block from the text that begins with it and ends before the next.
fn block(index: usize, text: &str) -> Result<Block, X509Error> {
    if text.match_indices(END).nth(1).is_some() {
        return Err(X509Error::Pem { index: index + 1, why: "it has an END line without a BEGIN line" });
    }
    let wrong = |why| X509Error::Pem { index, why };
    let framed = text.strip_prefix(BEGIN).and_then(|rest| rest.split_once("-----"));
    let (label, rest) = framed.ok_or(wrong("its BEGIN line is not whole"))?;
    let (body, end) = rest.split_once(END).ok_or(wrong("it has no END line"))?;
    let (end_label, _) = end.split_once("-----").ok_or(wrong("its END line is not whole"))?;
    if label != end_label {
        return Err(wrong("its BEGIN and END lines have different labels"));
    }
    // Headers (RFC 1421), which only old encrypted keys have, end at a blank line.
    let (headers, data) =
        match body.find(':').and_then(|_| body.split_once("\n\n").or(body.split_once("\r\n\r\n"))) {
            Some((headers, data)) => (headers, data),
            None => ("", body),
        };
    let der = decode(data).ok_or(wrong("it is not base64"))?;
    Ok(Block { label: label.to_owned(), encrypted: headers.contains("ENCRYPTED"), der: Secret::new(der) })
}

/// Decodes base64 in lines. The `pem` crate takes three times as long for the CRL of a million
/// entries, and leaves a copy of each private key behind.
fn decode(lines: &str) -> Option<Vec<u8>> {
    let mut digits = Zeroizing::new(Vec::with_capacity(lines.len()));
    for line in lines.lines() {
        digits.extend_from_slice(line.trim_ascii().as_bytes());
    }
    BASE64_STANDARD.decode(&digits).ok()
}

/// Whether a file is bare DER: a SEQUENCE, with a length that no text begins with or no PEM block
/// anywhere in it.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x80..=0xff, ..] => true,
        [0x30, ..] => !String::from_utf8_lossy(bytes).contains(BEGIN),
        _ => false,
    }
}

/// The PEM of `der` under `label`: lines of 64 characters, each ended by a line feed.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    ::pem::encode_config(&Pem::new(label, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// Writes the PEM of `der` line by line: of a CRL with a million entries there is no second copy.
///
/// # Errors
/// What `out` says.
pub fn write(kind: Kind, der: &[u8], out: &mut dyn Write) -> io::Result<()> {
    const OCTETS: usize = 48;
    let mut out = BufWriter::with_capacity(1 << 16, out);
    writeln!(out, "{BEGIN}{}-----", kind.label())?;
    let mut line = [0; OCTETS / 3 * 4];
    for octets in der.chunks(OCTETS) {
        let length = BASE64_STANDARD.encode_slice(octets, &mut line).map_err(io::Error::other)?;
        out.write_all(line.get(..length).unwrap_or_default())?;
        out.write_all(b"\n")?;
    }
    writeln!(out, "{END}{}-----", kind.label())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Root, now};

    fn code<T: fmt::Debug>(result: Result<T, X509Error>) -> &'static str {
        result.unwrap_err().code()
    }

    #[test]
    fn certificates_are_read_in_order_from_pem_and_der() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let bundle = format!("# two roots\r\n{}junk\n{}", a.pem().replace('\n', "\r\n"), b.pem());
        let read = certificates(bundle.as_bytes()).unwrap();
        assert_eq!(read, [a.certificate(), b.certificate()]);
        assert_eq!(certificates(a.der()).unwrap(), [a.certificate()]);
    }

    #[test]
    fn what_is_written_has_plain_lines_and_reads_back() {
        let root = Root::new("a");
        let text = pem("CERTIFICATE", root.der());
        assert!(
            text.starts_with("-----BEGIN CERTIFICATE-----\n")
                && text.ends_with("-----END CERTIFICATE-----\n")
        );
        assert!(text.lines().all(|line| line.len() <= 64) && !text.contains('\r'));
        assert_eq!(certificates(text.as_bytes()).unwrap(), [root.certificate()]);
    }

    #[test]
    fn a_damaged_block_is_never_passed_over() {
        let (a, b) = (Root::new("a").pem(), Root::new("b").pem());
        let truncated = &b[..b.len() - 20];
        for (text, index) in [
            (format!("{a}{truncated}"), 2),
            (format!("{a}{}", b.replace("BEGIN", "BEGN")), 2),
            (format!("{}{a}", b.replace("BEGIN", "BEGN")), 1),
            (format!("{a}{}", b.replace("END CERT", "END CURT")), 2),
            (format!("{}{b}", a.replacen("\nM", "\n*", 1)), 1),
            (format!("{a}-----BEGIN CERTIFICATE-----\n"), 2),
        ] {
            match certificates(text.as_bytes()) {
                Err(X509Error::Pem { index: found, .. }) => assert_eq!(found, index, "{text}"),
                other => panic!("{other:?} for {text}"),
            }
        }
        let dashed = format!("{a}-{b}");
        assert_eq!(certificates(dashed.as_bytes()).unwrap().len(), 2, "a sixth dash hides nothing");
    }

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        let certificate = Root::new("a").pem();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert_eq!(code(certificates(b"")), "x509.no_block");
        assert_eq!(code(certificates(b"hello")), "x509.no_block");
        assert_eq!(code(certificates(&[0x30, 3, 2, 1, 1])), "x509.malformed");
        assert_eq!(code(certificates(format!("{certificate}{key}").as_bytes())), "x509.private_key");
        let crl = Root::new("a").crl(1, &[], now());
        assert_eq!(code(certificates(pem("X509 CRL", &crl).as_bytes())), "x509.unexpected_block");
        let broken = format!("{certificate}{}", pem("CERTIFICATE", &[0x30, 0]));
        let error = certificates(broken.as_bytes()).unwrap_err();
        assert!(matches!(&error, X509Error::Block { index: 2, .. }), "{error}");
        assert_eq!(error.code(), "x509.malformed");
    }

    #[test]
    fn neither_debug_nor_errors_show_what_a_block_holds() {
        let text = "-----BEGIN PRIVATE KEY-----\nU0VDUkVU*U0VDUkVU\n-----END PRIVATE KEY-----\n";
        assert!(!blocks(text.as_bytes()).unwrap_err().to_string().contains("U0VD"));
        let block = &blocks(pem("PRIVATE KEY", b"SECRET").as_bytes()).unwrap()[0];
        assert_eq!(format!("{block:?}"), "Block { label: \"PRIVATE KEY\", .. }");
    }
}
