//! The KMIP messages that wrapping needs: requests and responses with one batch item.

use zeroize::Zeroizing;

use super::ttlv::{Element, Elements, Tag, TtlvError, Writer};

/// Tags (KMIP 1.4, section 9.1.3.1; 2.0, section 11.58).
pub(super) mod tag {
    use super::Tag;

    pub(in super::super) const ATTRIBUTE: Tag = 0x42_0008;
    pub(in super::super) const ATTRIBUTE_NAME: Tag = 0x42_000a;
    pub(in super::super) const ATTRIBUTE_REFERENCE: Tag = 0x42_013b;
    pub(in super::super) const ATTRIBUTE_VALUE: Tag = 0x42_000b;
    pub(in super::super) const ATTRIBUTES: Tag = 0x42_0125;
    pub(in super::super) const BATCH_COUNT: Tag = 0x42_000d;
    pub(in super::super) const BATCH_ITEM: Tag = 0x42_000f;
    pub(in super::super) const BLOCK_CIPHER_MODE: Tag = 0x42_0011;
    pub(in super::super) const CRYPTOGRAPHIC_ALGORITHM: Tag = 0x42_0028;
    pub(in super::super) const CRYPTOGRAPHIC_LENGTH: Tag = 0x42_002a;
    pub(in super::super) const CRYPTOGRAPHIC_PARAMETERS: Tag = 0x42_002b;
    pub(in super::super) const CRYPTOGRAPHIC_USAGE_MASK: Tag = 0x42_002c;
    pub(in super::super) const DATA: Tag = 0x42_00c2;
    pub(in super::super) const IV: Tag = 0x42_003d;
    pub(in super::super) const OPERATION: Tag = 0x42_005c;
    pub(in super::super) const PADDING_METHOD: Tag = 0x42_005f;
    pub(in super::super) const PROTOCOL_VERSION: Tag = 0x42_0069;
    pub(in super::super) const QUERY_FUNCTION: Tag = 0x42_0074;
    pub(in super::super) const REQUEST_HEADER: Tag = 0x42_0077;
    pub(in super::super) const REQUEST_MESSAGE: Tag = 0x42_0078;
    pub(in super::super) const REQUEST_PAYLOAD: Tag = 0x42_0079;
    pub(in super::super) const RESPONSE_MESSAGE: Tag = 0x42_007b;
    pub(in super::super) const RESPONSE_PAYLOAD: Tag = 0x42_007c;
    pub(in super::super) const RESULT_MESSAGE: Tag = 0x42_007d;
    pub(in super::super) const RESULT_REASON: Tag = 0x42_007e;
    pub(in super::super) const RESULT_STATUS: Tag = 0x42_007f;
    pub(in super::super) const STATE: Tag = 0x42_008d;
    pub(in super::super) const TAG_LENGTH: Tag = 0x42_00ce;
    pub(in super::super) const UNIQUE_IDENTIFIER: Tag = 0x42_0094;
    pub(in super::super) const VERSION_MAJOR: Tag = 0x42_006a;
    pub(in super::super) const VERSION_MINOR: Tag = 0x42_006b;
    pub(in super::super) const AUTHENTICATED_DATA: Tag = 0x42_00fe;
    pub(in super::super) const AUTHENTICATION_TAG: Tag = 0x42_00ff;
}

/// Operations in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Decrypt,
    DiscoverVersions,
    Encrypt,
    GetAttributes,
    Query,
}

impl Operation {
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::GetAttributes => 0x0b,
            Self::Query => 0x18,
            Self::DiscoverVersions => 0x1e,
            Self::Encrypt => 0x1f,
            Self::Decrypt => 0x20,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Decrypt => "Decrypt",
            Self::DiscoverVersions => "Discover Versions",
            Self::Encrypt => "Encrypt",
            Self::GetAttributes => "Get Attributes",
            Self::Query => "Query",
        }
    }
}

/// Protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: i32,
    pub(super) minor: i32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Block cipher mode of a wrapping key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// AES-CBC with PKCS #5 padding, the only mode for 1.2 and 1.3. A server of these versions may accept GCM
    /// and drop the tag, so that the ciphertext never decrypts.
    Cbc,
    /// AES-GCM with a tag of 16 bytes, since 1.4.
    Gcm,
}

/// Encode a request with one batch item.
pub(super) fn request(
    version: Version,
    operation: Operation,
    payload: impl FnOnce(&mut Writer),
) -> Result<Zeroizing<Vec<u8>>, TtlvError> {
    Writer::message(tag::REQUEST_MESSAGE, |message| {
        message.structure(tag::REQUEST_HEADER, |header| {
            header.structure(tag::PROTOCOL_VERSION, |protocol| {
                protocol.integer(tag::VERSION_MAJOR, version.major);
                protocol.integer(tag::VERSION_MINOR, version.minor);
            });
            header.integer(tag::BATCH_COUNT, 1);
        });
        message.structure(tag::BATCH_ITEM, |item| {
            item.enumeration(tag::OPERATION, operation.code());
            item.structure(tag::REQUEST_PAYLOAD, payload);
        });
    })
}

/// Write the cryptographic parameters, which servers require.
pub(super) fn write_parameters(writer: &mut Writer, mode: Mode) {
    const AES: u32 = 3;
    writer.structure(tag::CRYPTOGRAPHIC_PARAMETERS, |parameters| match mode {
        Mode::Cbc => {
            parameters.enumeration(tag::BLOCK_CIPHER_MODE, 1);
            parameters.enumeration(tag::PADDING_METHOD, 3);
            parameters.enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, AES);
        }
        Mode::Gcm => {
            parameters.enumeration(tag::BLOCK_CIPHER_MODE, 9);
            parameters.enumeration(tag::CRYPTOGRAPHIC_ALGORITHM, AES);
            parameters.integer(tag::TAG_LENGTH, 16);
        }
    });
}

/// Response to a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum KmipResponse<'a> {
    /// Success, with the response payload.
    Done(Elements<'a>),
    /// Failure.
    Failed {
        /// Result reason.
        reason: u32,
        /// Result message, untrusted.
        message: &'a str,
    },
}

/// Decode the response to `operation`.
pub(super) fn response(bytes: &[u8], operation: Operation) -> Result<KmipResponse<'_>, TtlvError> {
    let message = Elements::new(bytes).expect(tag::RESPONSE_MESSAGE)?.children()?;
    let mut items = message.all(tag::BATCH_ITEM);
    let item = items.next().ok_or(TtlvError("it has no batch item"))??.children()?;
    if items.next().is_some() {
        return Err(TtlvError("it has several batch items"));
    }
    if item.expect(tag::RESULT_STATUS)?.enumeration()? != 0 {
        let reason = item.find(tag::RESULT_REASON)?.map(|reason| reason.enumeration()).transpose()?;
        let message = item.find(tag::RESULT_MESSAGE)?.map(|message| message.text()).transpose()?;
        // Without a reason: general failure.
        let (reason, message) = (reason.unwrap_or(0x100), message.unwrap_or_default());
        return Ok(KmipResponse::Failed { reason, message });
    }
    if item.expect(tag::OPERATION)?.enumeration()? != operation.code() {
        return Err(TtlvError("it is about another operation"));
    }
    Ok(KmipResponse::Done(item.expect(tag::RESPONSE_PAYLOAD)?.children()?))
}

/// Versions in a response to Discover Versions.
pub(super) fn versions(payload: Elements<'_>) -> Result<Vec<Version>, TtlvError> {
    /// Bound the work that a hostile response causes.
    const AT_MOST: usize = 64;
    let version = |element: Result<Element<'_>, TtlvError>| {
        let fields = element?.children()?;
        let major = fields.expect(tag::VERSION_MAJOR)?.integer()?;
        let minor = fields.expect(tag::VERSION_MINOR)?.integer()?;
        Ok(Version { major, minor })
    };
    payload.all(tag::PROTOCOL_VERSION).take(AT_MOST).map(version).collect()
}

/// Value of an attribute in a response to Get Attributes: under its own tag in 2.x, under its name in 1.x.
pub(super) fn attribute<'a>(
    payload: Elements<'a>,
    attribute_tag: Tag,
    name: &str,
) -> Result<Option<Element<'a>>, TtlvError> {
    if let Some(attributes) = payload.find(tag::ATTRIBUTES)? {
        return attributes.children()?.find(attribute_tag);
    }
    for attribute in payload.all(tag::ATTRIBUTE) {
        let fields = attribute?.children()?;
        if fields.expect(tag::ATTRIBUTE_NAME)?.text()? == name {
            return fields.find(tag::ATTRIBUTE_VALUE);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_with(status: u32) -> Vec<u8> {
        Writer::message(tag::RESPONSE_MESSAGE, |message| {
            message.structure(tag::BATCH_ITEM, |item| {
                item.enumeration(tag::OPERATION, Operation::DiscoverVersions.code());
                item.enumeration(tag::RESULT_STATUS, status);
                if status != 0 {
                    item.enumeration(tag::RESULT_REASON, 4);
                    item.text(tag::RESULT_MESSAGE, "no");
                }
                item.structure(tag::RESPONSE_PAYLOAD, |payload| {
                    for (major, minor) in [(2, 0), (1, 4)] {
                        payload.structure(tag::PROTOCOL_VERSION, |version| {
                            version.integer(tag::VERSION_MAJOR, major);
                            version.integer(tag::VERSION_MINOR, minor);
                        });
                    }
                });
            });
        })
        .unwrap()
        .to_vec()
    }

    #[test]
    fn responses_are_distinguished() {
        let good = response_with(0);
        let KmipResponse::Done(payload) = response(&good, Operation::DiscoverVersions).unwrap() else {
            panic!()
        };
        let found = versions(payload).unwrap();
        assert_eq!(found, [Version { major: 2, minor: 0 }, Version { major: 1, minor: 4 }]);
        assert!(response(&good, Operation::Encrypt).is_err(), "of another operation");
        let bad = response_with(1);
        let KmipResponse::Failed { reason: 4, message: "no" } =
            response(&bad, Operation::DiscoverVersions).unwrap()
        else {
            panic!()
        };
    }

    #[test]
    fn damaged_responses_never_panic() {
        for whole in [response_with(0), response_with(1)] {
            for at in 0..whole.len() {
                for damaged in [&whole[..at], &[&whole[..at], &[whole[at] ^ 0xff], &whole[at + 1..]].concat()]
                {
                    if let Ok(KmipResponse::Done(payload)) = response(damaged, Operation::DiscoverVersions) {
                        let _ = versions(payload);
                        let _ = attribute(payload, tag::STATE, "State");
                    }
                }
            }
        }
    }
}
