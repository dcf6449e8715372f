//! Result reasons (KMIP 2.1, section 11.48; earlier versions have a part of them).

/// Object that does not exist, up to KMIP 1.4.
pub(super) const ITEM_NOT_FOUND: u32 = 0x01;

/// Login that the server does not accept.
pub(super) const AUTHENTICATION_NOT_SUCCESSFUL: u32 = 0x03;

/// Operation that the server does not allow to this client.
pub(super) const PERMISSION_DENIED: u32 = 0x0c;

/// Key whose usage mask does not allow the operation.
pub(super) const INCOMPATIBLE_USAGE_MASK: u32 = 0x29;

/// Object that was destroyed.
pub(super) const OBJECT_DESTROYED: u32 = 0x36;

/// Object that does not exist, since KMIP 2.0.
pub(super) const OBJECT_NOT_FOUND: u32 = 0x37;

/// Client without the right to the operation, since KMIP 2.0.
pub(super) const NOT_AUTHORISED: u32 = 0x39;

/// Key in a state that does not allow the operation.
pub(super) const WRONG_KEY_LIFECYCLE_STATE: u32 = 0x43;

/// Name of a reason. `None` for an unknown one.
pub(super) fn name(reason: u32) -> Option<&'static str> {
    let place = NAMES.binary_search_by_key(&reason, |(number, _)| *number).ok()?;
    NAMES.get(place).map(|(_, name)| *name)
}

/// True for a failure of the server itself, after which the same request may succeed.
pub(super) const fn is_temporary(reason: u32) -> bool {
    matches!(reason, 0x2a | 0x3a | 0x44 | 0x48 | 0x49)
}

/// Number and name, sorted.
const NAMES: &[(u32, &str)] = &[
    (0x01, "Item Not Found"),
    (0x02, "Response Too Large"),
    (0x03, "Authentication Not Successful"),
    (0x04, "Invalid Message"),
    (0x05, "Operation Not Supported"),
    (0x06, "Missing Data"),
    (0x07, "Invalid Field"),
    (0x08, "Feature Not Supported"),
    (0x09, "Operation Canceled By Requester"),
    (0x0a, "Cryptographic Failure"),
    (0x0b, "Illegal Operation"),
    (0x0c, "Permission Denied"),
    (0x0d, "Object Archived"),
    (0x0e, "Index Out of Bounds"),
    (0x0f, "Application Namespace Not Supported"),
    (0x10, "Key Format Type Not Supported"),
    (0x11, "Key Compression Type Not Supported"),
    (0x12, "Encoding Option Error"),
    (0x13, "Key Value Not Present"),
    (0x14, "Attestation Required"),
    (0x15, "Attestation Failed"),
    (0x16, "Sensitive"),
    (0x17, "Not Extractable"),
    (0x18, "Object Already Exists"),
    (0x19, "Invalid Ticket"),
    (0x1a, "Usage Limit Exceeded"),
    (0x1b, "Numeric Range"),
    (0x1c, "Invalid Data Type"),
    (0x1d, "Read Only Attribute"),
    (0x1e, "Multi Valued Attribute"),
    (0x1f, "Unsupported Attribute"),
    (0x20, "Attribute Instance Not Found"),
    (0x21, "Attribute Not Found"),
    (0x22, "Attribute Read Only"),
    (0x23, "Attribute Single Valued"),
    (0x24, "Bad Cryptographic Parameters"),
    (0x25, "Bad Password"),
    (0x26, "Codec Error"),
    (0x28, "Illegal Object Type"),
    (0x29, "Incompatible Cryptographic Usage Mask"),
    (0x2a, "Internal Server Error"),
    (0x2b, "Invalid Asynchronous Correlation Value"),
    (0x2c, "Invalid Attribute"),
    (0x2d, "Invalid Attribute Value"),
    (0x2e, "Invalid Correlation Value"),
    (0x2f, "Invalid CSR"),
    (0x30, "Invalid Object Type"),
    (0x32, "Key Wrap Type Not Supported"),
    (0x34, "Missing Initialization Vector"),
    (0x35, "Non Unique Name Attribute"),
    (0x36, "Object Destroyed"),
    (0x37, "Object Not Found"),
    (0x39, "Not Authorised"),
    (0x3a, "Server Limit Exceeded"),
    (0x3b, "Unknown Enumeration"),
    (0x3c, "Unknown Message Extension"),
    (0x3d, "Unknown Tag"),
    (0x3e, "Unsupported Cryptographic Parameters"),
    (0x3f, "Unsupported Protocol Version"),
    (0x40, "Wrapping Object Archived"),
    (0x41, "Wrapping Object Destroyed"),
    (0x42, "Wrapping Object Not Found"),
    (0x43, "Wrong Key Lifecycle State"),
    (0x44, "Protection Storage Unavailable"),
    (0x45, "PKCS#11 Codec Error"),
    (0x46, "PKCS#11 Invalid Function"),
    (0x47, "PKCS#11 Invalid Interface"),
    (0x48, "Private Protection Storage Unavailable"),
    (0x49, "Public Protection Storage Unavailable"),
    (0x4a, "Unknown Object Group"),
    (0x4b, "Constraint Violation"),
    (0x4c, "Duplicate Process Request"),
    (0x100, "General Failure"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_number() {
        assert!(NAMES.is_sorted_by_key(|(number, _)| *number));
        for (number, expected) in NAMES {
            assert_eq!(name(*number), Some(*expected));
        }
        assert_eq!([name(0x37), name(0x100)], [Some("Object Not Found"), Some("General Failure")]);
        assert_eq!([name(0), name(0x27), name(u32::MAX)], [None; 3]);
    }
}
