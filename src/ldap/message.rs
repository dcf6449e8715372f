//! Messages (RFC 4511, section 4): the requests that are sent, and the responses to them.

use zeroize::Zeroizing;

use super::ber::{
    BOOLEAN, BerElements, ENUMERATED, INTEGER, OCTET_STRING, SEQUENCE, SET, element, length, number,
};
use super::error::Malformed;
use super::filter::LdapFilter;

/// Longest message that is read, in bytes. Real ones are a few kilobytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// Operation that starts TLS (RFC 4511, section 4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// Result code of a success.
pub(super) const SUCCESS: u32 = 0;
/// Result code of a search with more entries than were asked for.
pub(super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// Result code of a wrong name or password.
pub(super) const INVALID_CREDENTIALS: u32 = 49;

/// Entry that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapEntry {
    /// Distinguished name, as the directory writes it.
    pub dn: String,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl LdapEntry {
    /// Values of an attribute. Case distinguishes no two attributes.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let of = self.attributes.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        of.flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }

    /// First value of an attribute that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values(name).find_map(|value| std::str::from_utf8(value).ok())
    }
}

/// Result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LdapResult {
    /// Result code (RFC 4511, appendix A).
    pub(super) code: u32,
    /// Text of the directory.
    pub(super) message: String,
}

/// Response of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LdapResponse {
    /// Result of a bind.
    Bind(LdapResult),
    /// Entry of a search.
    Entry(LdapEntry),
    /// Reference to another directory. It is not followed.
    Reference,
    /// Result of a search.
    Done(LdapResult),
    /// Result of an extended operation.
    Extended(LdapResult),
}

/// Search in a directory.
#[derive(Clone, Debug)]
pub struct LdapSearch<'a> {
    /// Entry below which is searched.
    pub base: &'a str,
    /// True to look at the entry `base` alone.
    pub base_only: bool,
    /// Condition on entries.
    pub filter: LdapFilter<'a>,
    /// Attributes to return.
    pub attributes: &'a [&'a str],
    /// Most entries that are expected.
    pub limit: u32,
}

/// Request to start TLS.
pub(super) fn start_tls(id: u32) -> Zeroizing<Vec<u8>> {
    request(id, &element(0x77, &[&element(0x80, &[START_TLS])]))
}

/// Request to bind with a name and a password.
pub(super) fn bind(id: u32, name: &str, password: &[u8]) -> Zeroizing<Vec<u8>> {
    let version = number(INTEGER, 3);
    let name = element(OCTET_STRING, &[name.as_bytes()]);
    request(id, &element(0x60, &[&version, &name, &element(0x80, &[password])]))
}

/// Notice that the connection ends.
pub(super) fn unbind(id: u32) -> Zeroizing<Vec<u8>> {
    request(id, &element(0x42, &[]))
}

/// Request to search. Aliases are not followed.
pub(super) fn search(id: u32, search: &LdapSearch<'_>, seconds: u32) -> Zeroizing<Vec<u8>> {
    let attributes: Vec<_> =
        search.attributes.iter().map(|name| element(OCTET_STRING, &[name.as_bytes()])).collect();
    let attributes = attributes.iter().map(|name| name.as_slice()).collect::<Vec<_>>();
    let scope = if search.base_only { 0 } else { 2 };
    request(
        id,
        &element(
            0x63,
            &[
                &element(OCTET_STRING, &[search.base.as_bytes()]),
                &number(ENUMERATED, scope),
                &number(ENUMERATED, 0),
                &number(INTEGER, search.limit),
                &number(INTEGER, seconds),
                &element(BOOLEAN, &[&[0]]),
                &search.filter.encode(),
                &element(SEQUENCE, &attributes),
            ],
        ),
    )
}

fn request(id: u32, operation: &[u8]) -> Zeroizing<Vec<u8>> {
    element(SEQUENCE, &[&number(INTEGER, id), operation])
}

/// Length of the message whose first bytes these are, without its header, and that of the header. `None` if more
/// bytes are needed.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    match bytes.split_first() {
        None => Ok(None),
        Some((&SEQUENCE, rest)) => match length(rest)? {
            None => Ok(None),
            Some((contents, _)) if contents > MAX_MESSAGE => Err(Malformed("it is longer than 1 MiB")),
            Some((contents, after)) => Ok(Some((contents, bytes.len() - after.len()))),
        },
        Some(_) => Err(Malformed("it is not a sequence")),
    }
}

/// Parse the contents of a message: its ID, and the response.
pub(super) fn response(contents: &[u8]) -> Result<(u32, LdapResponse), Malformed> {
    let mut message = BerElements::of(contents);
    let id = message.number(INTEGER)?;
    let (tag, operation) = message.next()?.ok_or(Malformed("it has no operation"))?;
    let response = match tag {
        0x61 => LdapResponse::Bind(result(operation)?),
        0x64 => LdapResponse::Entry(entry(operation)?),
        0x65 => LdapResponse::Done(result(operation)?),
        0x73 => LdapResponse::Reference,
        0x78 => LdapResponse::Extended(result(operation)?),
        _ => return Err(Malformed("it is not a response")),
    };
    Ok((id, response))
}

/// True if the bytes are one valid response and nothing else, for tests.
#[must_use]
pub fn is_ldap_response(bytes: &[u8]) -> bool {
    match frame(bytes) {
        Ok(Some((contents, header))) => {
            bytes.get(header..).is_some_and(|rest| rest.len() == contents && response(rest).is_ok())
        }
        _ => false,
    }
}

fn result(operation: &[u8]) -> Result<LdapResult, Malformed> {
    let mut parts = BerElements::of(operation);
    let code = parts.number(ENUMERATED)?;
    let _matched_name = parts.expect(OCTET_STRING)?;
    // Some directories write it in another character set.
    let message = String::from_utf8_lossy(parts.expect(OCTET_STRING)?).into_owned();
    Ok(LdapResult { code, message })
}

fn entry(operation: &[u8]) -> Result<LdapEntry, Malformed> {
    let mut parts = BerElements::of(operation);
    let dn = parts.text()?.to_owned();
    let mut listed = BerElements::of(parts.expect(SEQUENCE)?);
    let mut attributes = Vec::new();
    while let Some((tag, attribute)) = listed.next()? {
        if tag != SEQUENCE {
            return Err(Malformed("it has an unexpected element"));
        }
        let mut attribute = BerElements::of(attribute);
        let name = attribute.text()?.to_owned();
        let mut set = BerElements::of(attribute.expect(SET)?);
        let mut values = Vec::new();
        while let Some((tag, value)) = set.next()? {
            if tag != OCTET_STRING {
                return Err(Malformed("it has an unexpected element"));
            }
            values.push(value.to_vec());
        }
        attributes.push((name, values));
    }
    Ok(LdapEntry { dn, attributes })
}

/// Name of a result code.
pub(super) const fn code_name(code: u32) -> &'static str {
    match code {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        SIZE_LIMIT_EXCEEDED => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        13 => "confidentialityRequired",
        16 => "noSuchAttribute",
        17 => "undefinedAttributeType",
        18 => "inappropriateMatching",
        19 => "constraintViolation",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        INVALID_CREDENTIALS => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        80 => "other",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u32, operation: &[u8]) -> Vec<u8> {
        request(id, operation).to_vec()
    }

    fn parse(bytes: &[u8]) -> Result<(u32, LdapResponse), Malformed> {
        let (contents, header) = frame(bytes)?.expect("a whole header");
        assert_eq!(bytes.len(), contents + header);
        response(&bytes[header..])
    }

    fn result_of(tag: u8, code: u32, text: &[u8]) -> Vec<u8> {
        element(
            tag,
            &[&number(ENUMERATED, code), &element(OCTET_STRING, &[]), &element(OCTET_STRING, &[text])],
        )
        .to_vec()
    }

    #[test]
    fn responses_read_back() {
        let refused = LdapResult { code: 49, message: "wrong".to_owned() };
        assert_eq!(
            parse(&message(3, &result_of(0x61, 49, b"wrong"))),
            Ok((3, LdapResponse::Bind(refused.clone())))
        );
        assert_eq!(parse(&message(3, &result_of(0x65, 49, b"wrong"))), Ok((3, LdapResponse::Done(refused))));
        let value = |text: &[u8]| element(OCTET_STRING, &[text]).to_vec();
        let attribute =
            element(SEQUENCE, &[&value(b"UID"), &element(SET, &[&value(b"alice"), &value(b"al")])]);
        let found = element(0x64, &[&value(b"uid=alice,dc=test"), &element(SEQUENCE, &[&attribute])]);
        let Ok((7, LdapResponse::Entry(entry))) = parse(&message(7, &found)) else { panic!("no entry") };
        assert_eq!((entry.dn.as_str(), entry.text("uid")), ("uid=alice,dc=test", Some("alice")));
        assert_eq!(entry.values("Uid").count(), 2);
        assert_eq!(entry.text("cn"), None);
    }

    #[test]
    fn messages_that_are_no_responses_are_refused() {
        let whole = message(1, &result_of(0x61, 0, b""));
        assert!(is_ldap_response(&whole));
        for end in 0..whole.len() {
            assert!(!is_ldap_response(&whole[..end]), "{end}");
        }
        for bytes in [
            message(1, &element(0x60, &[])),
            message(1, &element(0x61, &[])),
            message(1, &element(0x64, &[&element(OCTET_STRING, &[&[0xff]])])),
            [0x30, 0x84, 0x7f, 0xff, 0xff, 0xff].to_vec(),
            [0x30, 0x80].to_vec(),
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
        ] {
            assert!(!is_ldap_response(&bytes), "{bytes:02x?}");
        }
        assert_eq!(frame(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]), Err(Malformed("it is longer than 1 MiB")));
    }
}
