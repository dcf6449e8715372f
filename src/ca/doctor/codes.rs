//! Codes of findings that no error has, in one table.

/// Declare [`DoctorCode`]: one line for each finding, with the situation that it reports.
macro_rules! doctor_codes {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)+) => {
        /// Finding of `doctor` itself. The finding of a failed check has the code of its error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DoctorCode {
            $($(#[$doc])* $variant,)+
        }

        impl DoctorCode {
            /// The stable code, such as `doctor.expired`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

doctor_codes! {
    /// An endpoint does not ask for a client certificate, or answers without one.
    AnonymousCallers => "doctor.anonymous_callers",
    /// The trust bundle of the home is without the root that signs.
    BundleLacksRoot => "doctor.bundle_lacks_root",
    /// Another process holds the lock, so that interrupted work was not looked for.
    Busy => "doctor.busy",
    /// The wall clock is earlier than the newest audit entry.
    ClockBehind => "doctor.clock_behind",
    /// The published CRL is another one than the inventory has recorded.
    CrlDiffers => "doctor.crl_differs",
    /// The next update of the published CRL is due within the warning time.
    CrlEndsSoon => "doctor.crl_ends_soon",
    /// Revocations of the inventory are absent from the published CRL.
    CrlIncomplete => "doctor.crl_incomplete",
    /// A number was reserved, and nothing was signed under it.
    CrlOwed => "doctor.crl_owed",
    /// Valid no more, and neither renewed nor revoked.
    Expired => "doctor.expired",
    /// An issued certificate is not at the path where it was written.
    FileMissing => "doctor.file_missing",
    /// A listed gateway has not acknowledged the newest CRL.
    GatewayOutdated => "doctor.gateway_outdated",
    /// A valid certificate has a key that was revoked as compromised.
    KeyCompromised => "doctor.key_compromised",
    /// A private key is not at the path where it was written.
    KeyMissing => "doctor.key_missing",
    /// The root key needs a passphrase or PIN that was not given.
    KeyNotOpened => "doctor.key_not_opened",
    /// A private key lies in `issued/`, and no certificate beside it.
    KeyWithoutCertificate => "doctor.key_without_certificate",
    /// A temporary file belongs to no certificate.
    Leftover => "doctor.leftover",
    /// A temporary file may hold the only copy of an issued certificate's key.
    LeftoverOfIssued => "doctor.leftover_of_issued",
    /// An endpoint ends the handshake without presenting a chain.
    NoCertificateServed => "doctor.no_certificate_served",
    /// The operator of `gateways.yaml` has no certificate or no private key in the home.
    OperatorMissing => "doctor.operator_missing",
    /// Certificate and private key of one name have different public keys.
    PairMismatch => "doctor.pair_mismatch",
    /// The profile differs from the one that a certificate was issued by.
    ProfileChanged => "doctor.profile_changed",
    /// A serial number was recorded, and nothing was signed under it.
    Reserved => "doctor.reserved",
    /// Only a part of the certificates was checked in full.
    Sampled => "doctor.sampled",
    /// The chain that an endpoint presents expires within 30 days.
    ServedEndsSoon => "doctor.served_ends_soon",
    /// An endpoint presents a certificate that has a replacement.
    ServedSuperseded => "doctor.served_superseded",
    /// A certificate of this root is not in the inventory.
    UnknownCertificate => "doctor.unknown_certificate",
    /// A certificate was signed, and its files may lie under temporary names.
    Unplaced => "doctor.unplaced",
    /// A public file of the home can be changed by other users.
    Writable => "doctor.writable",
}
