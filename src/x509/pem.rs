//! Files of X.509 objects in PEM (RFC 7468) or DER.
//!
//! Text around and between blocks is allowed, as other tools write it. A damaged block fails the whole file,
//! because a trust bundle or a CRL file must not silently lose a part.

use std::fmt;
use std::io::{self, BufWriter, Write};

use ::pem::{EncodeConfig, LineEnding, Pem};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::error::X509Error;
use crate::error::excerpt;
use crate::secret::Secret;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// Octets in a line of 64 base64 digits.
const LINE_OCTETS: usize = 48;

/// Type of the objects in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// X.509 certificates: label `CERTIFICATE`.
    Certificate,
    /// Certificate signing requests (PKCS#10).
    Csr,
    /// Certificate revocation lists.
    Crl,
}

impl ObjectKind {
    /// Label of the PEM blocks.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::Csr => "CERTIFICATE REQUEST",
            Self::Crl => "X509 CRL",
        }
    }

    /// Type for a label; some tools still write Netscape's old label of a CSR.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        match label {
            "CERTIFICATE" => Some(Self::Certificate),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some(Self::Csr),
            "X509 CRL" => Some(Self::Crl),
            _ => None,
        }
    }

    /// Name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Csr => "certificate signing request",
            Self::Crl => "CRL",
        }
    }
}

/// PEM block. Its content is kept as a secret, because it may be a private key.
pub struct PemBlock {
    /// Text between `BEGIN` and the dashes.
    pub label: String,
    /// Encryption in OpenSSL's traditional format, according to its headers (RFC 1421).
    pub encrypted: bool,
    der: Secret,
}

impl PemBlock {
    /// Decoded content.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.der.expose()
    }

    /// Label of a private key in any format.
    #[must_use]
    pub fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

impl fmt::Debug for PemBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemBlock").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Read the certificates in a file, PEM or DER, in order.
///
/// # Errors
/// [`X509Error`] for a file without certificates, with other objects such as a private key, or with a
/// damaged block.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, X509Error> {
    let blocks = blocks_of(ObjectKind::Certificate, bytes)?;
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

/// Read a file that must contain one or more objects of `kind` and no others. A DER file is one block.
///
/// # Errors
/// [`X509Error`] for a file without objects, with other objects such as a private key, or with a damaged
/// block.
pub fn blocks_of(kind: ObjectKind, bytes: &[u8]) -> Result<Vec<PemBlock>, X509Error> {
    if is_der(bytes) {
        let der = Secret::new(bytes.to_vec());
        return Ok(vec![PemBlock { label: kind.label().to_owned(), encrypted: false, der }]);
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
        if ObjectKind::of_label(&block.label) != Some(kind) {
            let label = excerpt(&block.label);
            return Err(X509Error::UnexpectedBlock { index, label, wanted });
        }
    }
    Ok(blocks)
}

/// Read all PEM blocks in a text, which may have none.
///
/// # Errors
/// [`X509Error::Pem`] with the position of the first damaged block.
pub fn blocks(bytes: &[u8]) -> Result<Vec<PemBlock>, X509Error> {
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

/// Read the only PEM block of a text, after which nothing follows. No copy of its content stays in memory.
///
/// # Errors
/// [`X509Error`] for a damaged block, several blocks or none, text after the block, or invalid UTF-8.
pub fn only_block(bytes: &[u8]) -> Result<PemBlock, X509Error> {
    const NOTHING: X509Error = X509Error::NoBlock { wanted: "single PEM block" };
    // Invalid UTF-8 would be copied when it is replaced.
    let text = std::str::from_utf8(bytes).map_err(|_| NOTHING)?;
    let ends_with_block = text
        .trim_ascii_end()
        .rsplit_once('\n')
        .is_some_and(|(_, last)| last.starts_with(END) && last.ends_with("-----"));
    let mut blocks = blocks(bytes)?;
    match blocks.pop() {
        Some(block) if blocks.is_empty() && ends_with_block => Ok(block),
        _ => Err(NOTHING),
    }
}

/// Read the only private key of a text. No copy of it stays in memory.
///
/// Text around it, certificates beside it, and the `EC PARAMETERS` that OpenSSL writes before it are allowed.
///
/// # Errors
/// [`X509Error`] for a damaged block, several private keys or none, or invalid UTF-8.
pub fn key_block(bytes: &[u8]) -> Result<PemBlock, X509Error> {
    const NOTHING: X509Error = X509Error::NoBlock { wanted: "single private key" };
    // Invalid UTF-8 would be copied when it is replaced.
    std::str::from_utf8(bytes).map_err(|_| NOTHING)?;
    let mut keys: Vec<PemBlock> = blocks(bytes)?.into_iter().filter(PemBlock::is_private_key).collect();
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(NOTHING),
    }
}

/// Parse one block from the text that starts with it and ends before the next.
fn block(index: usize, text: &str) -> Result<PemBlock, X509Error> {
    if text.match_indices(END).nth(1).is_some() {
        return Err(X509Error::Pem { index: index + 1, why: "it has an END line without a BEGIN line" });
    }
    let wrong = |why| X509Error::Pem { index, why };
    let framed = text.strip_prefix(BEGIN).and_then(|rest| rest.split_once("-----"));
    let (label, rest) = framed.ok_or(wrong("its BEGIN line is incomplete"))?;
    let (body, end) = rest.split_once(END).ok_or(wrong("it has no END line"))?;
    let (end_label, _) = end.split_once("-----").ok_or(wrong("its END line is incomplete"))?;
    if label != end_label {
        return Err(wrong("its BEGIN and END lines have different labels"));
    }
    // Headers (RFC 1421), found in old encrypted keys only, end at a blank line.
    let (headers, data) =
        match body.find(':').and_then(|_| body.split_once("\n\n").or(body.split_once("\r\n\r\n"))) {
            Some((headers, data)) => (headers, data),
            None => ("", body),
        };
    let der = decode(data).ok_or(wrong("it is not valid base64"))?;
    Ok(PemBlock { label: label.to_owned(), encrypted: headers.contains("ENCRYPTED"), der })
}

/// Decode base64 in lines. The `pem` crate takes three times as long for a CRL of a million entries, and
/// leaves a copy of each private key in memory.
fn decode(lines: &str) -> Option<Secret> {
    let mut digits = Zeroizing::new(Vec::with_capacity(lines.len()));
    for line in lines.lines() {
        digits.extend_from_slice(line.trim_ascii().as_bytes());
    }
    let mut der = Zeroizing::new(vec![0; base64::decoded_len_estimate(digits.len())]);
    let length = BASE64_STANDARD.decode_slice(&digits, &mut der).ok()?;
    der.truncate(length);
    Some(Secret::new(std::mem::take(&mut *der)))
}

/// Detect DER: a SEQUENCE, either with a length octet that text cannot have, or without any PEM block.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x80..=0xff, ..] => true,
        [0x30, ..] => !String::from_utf8_lossy(bytes).contains(BEGIN),
        _ => false,
    }
}

/// Encode `der` as PEM with `label`, in lines of 64 characters ended by a line feed.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    ::pem::encode_config(&Pem::new(label, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// Write the PEM of `der` line by line, so that a CRL of a million entries is not copied.
///
/// # Errors
/// Those of `out`.
pub fn write(kind: ObjectKind, der: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    write_lines(kind.label(), der, &mut out)?;
    out.flush()
}

/// Encode secret `der` as PEM in a buffer of final size, so that no copy stays in memory.
///
/// # Errors
/// Those of the base64 encoder, which valid buffer sizes exclude.
pub fn secret_pem(label: &str, der: &[u8]) -> io::Result<Secret> {
    let digits = der.len().div_ceil(3) * 4;
    let frame = BEGIN.len() + END.len() + 2 * (label.len() + "-----\n".len());
    let mut text = Zeroizing::new(Vec::with_capacity(frame + digits + der.len().div_ceil(LINE_OCTETS)));
    write_lines(label, der, &mut *text)?;
    Ok(Secret::new(std::mem::take(&mut *text)))
}

fn write_lines(label: &str, der: &[u8], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{BEGIN}{label}-----")?;
    let mut line = Zeroizing::new([0; LINE_OCTETS / 3 * 4]);
    for octets in der.chunks(LINE_OCTETS) {
        let length = BASE64_STANDARD.encode_slice(octets, line.as_mut_slice()).map_err(io::Error::other)?;
        out.write_all(line.get(..length).unwrap_or_default())?;
        out.write_all(b"\n")?;
    }
    writeln!(out, "{END}{label}-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
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
    fn encoded_text_has_lines_of_64_characters_and_is_read_back() {
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
    fn a_damaged_block_fails_the_file() {
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
    fn other_objects_than_certificates_are_refused() {
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
    fn neither_debug_nor_errors_show_the_content_of_a_block() {
        let text = "-----BEGIN PRIVATE KEY-----\nU0VDUkVU*U0VDUkVU\n-----END PRIVATE KEY-----\n";
        assert!(!blocks(text.as_bytes()).unwrap_err().to_string().contains("U0VD"));
        let block = &blocks(pem("PRIVATE KEY", b"SECRET").as_bytes()).unwrap()[0];
        assert_eq!(format!("{block:?}"), "PemBlock { label: \"PRIVATE KEY\", .. }");
    }

    #[test]
    fn a_secret_is_encoded_into_a_buffer_of_its_final_size() {
        for length in [0, 1, 47, 48, 49, 96, 121] {
            let der = vec![0x5a; length];
            let secret = secret_pem("PRIVATE KEY", &der).unwrap();
            assert_eq!(String::from_utf8_lossy(secret.expose()), pem("PRIVATE KEY", &der), "{length}");
            assert_eq!(only_block(secret.expose()).unwrap().der(), der);
        }
    }

    #[test]
    fn only_one_block_without_text_after_it_is_accepted() {
        let block = pem("PRIVATE KEY", b"SECRET");
        for text in
            [block.clone(), block.trim_end().to_owned(), format!("{block}\n\n"), format!("key:\n{block}")]
        {
            assert_eq!(only_block(text.as_bytes()).unwrap().der(), b"SECRET", "{text}");
        }
        for text in
            [String::new(), format!("{block}{block}"), format!("{block}x"), block.replace("END", "EDN")]
        {
            assert!(only_block(text.as_bytes()).is_err(), "{text}");
        }
        assert!(only_block(&[block.as_bytes(), &[0xff]].concat()).is_err());
    }
}
