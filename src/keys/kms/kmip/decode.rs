//! Entry to the decoder of KMIP responses, for tests with arbitrary bytes.

use super::message::{KmipResponse, Operation, attribute, response, tag, versions};

/// Report whether `bytes` are a complete response to any operation that is in use.
#[doc(hidden)]
#[must_use]
pub fn is_kmip_response(bytes: &[u8]) -> bool {
    const OPERATIONS: [Operation; 5] = [
        Operation::Decrypt,
        Operation::DiscoverVersions,
        Operation::Encrypt,
        Operation::GetAttributes,
        Operation::Query,
    ];
    OPERATIONS.into_iter().any(|operation| match response(bytes, operation) {
        Ok(KmipResponse::Done(payload)) => {
            versions(payload).is_ok() && attribute(payload, tag::STATE, "State").is_ok()
        }
        Ok(KmipResponse::Failed { .. }) => true,
        Err(_) => false,
    })
}
