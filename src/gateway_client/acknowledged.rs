//! CRLs that gateways have acknowledged, remembered in the home: `forecast` and `doctor` need no connection.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::list::GatewayList;
use crate::error::{Code, Coded};
use crate::files::{self, Access, FileError, Placement};
use crate::probe::Endpoint;
use crate::x509::KeyIdentifier;
use crate::x509::crl::CrlNumber;

/// Last CRL that each gateway has confirmed to enforce, by the gateway's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgedCrls {
    gateways: BTreeMap<String, AcknowledgedCrl>,
}

/// CRL that a gateway has confirmed to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgedCrl {
    /// Key identifier of its issuer.
    pub issuer: KeyIdentifier,
    /// CRL number.
    pub number: CrlNumber,
    /// `nextUpdate`: the gateway refuses every client after it.
    #[serde(with = "time::serde::rfc3339")]
    pub next_update: OffsetDateTime,
    /// Time of the confirmation.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl AcknowledgedCrls {
    /// Name of the file in a CA home.
    pub const FILE: &str = "gateways.acknowledged.json";

    /// Largest size accepted, in bytes. An entry takes up to twenty times the bytes of its gateway in
    /// `gateways.yaml`, and gateways that are no longer listed stay.
    const LIMIT: u64 = 32 * GatewayList::LIMIT;

    /// Read the file in the home `directory`; empty if there is none.
    ///
    /// # Errors
    /// [`AcknowledgedCrlsError`] if the file cannot be read or parsed.
    pub fn load(directory: &Path) -> Result<Self, AcknowledgedCrlsError> {
        let path = directory.join(Self::FILE);
        let damaged = |source| AcknowledgedCrlsError::Damaged { path: path.display().to_string(), source };
        match files::read(&path, Self::LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(io::Error::from(error))),
            Err(error) if error.is_missing() => Ok(Self::default()),
            Err(error @ FileError::TooLarge { .. }) => Err(damaged(io::Error::other(error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Remember that each gateway enforces its CRL. An older number than the one on record is ignored: confirmations
    /// of two commands may arrive in any order. A damaged file is replaced, since every entry can be asked for again.
    ///
    /// The caller holds the lock of the home.
    ///
    /// # Errors
    /// [`AcknowledgedCrlsError`] if the file cannot be read or written.
    pub fn record(
        directory: &Path,
        confirmed: impl IntoIterator<Item = (Endpoint, AcknowledgedCrl)>,
    ) -> Result<(), AcknowledgedCrlsError> {
        let old = match Self::load(directory) {
            Err(AcknowledgedCrlsError::Damaged { .. }) => Self::default(),
            old => old?,
        };
        let mut new = old.clone();
        for (address, crl) in confirmed {
            let known = new.of(&address);
            if known.is_none_or(|known| known.issuer != crl.issuer || known.number < crl.number) {
                new.gateways.insert(address.to_string(), crl);
            }
        }
        if new == old {
            return Ok(());
        }
        let path = directory.join(Self::FILE);
        let text = serde_json::to_vec_pretty(&new).map_err(|error| AcknowledgedCrlsError::Damaged {
            path: path.display().to_string(),
            source: io::Error::from(error),
        })?;
        Ok(files::write(&path, Access::Public, Placement::Replace, &text)?)
    }

    /// CRL that the gateway at `address` acknowledged last.
    #[must_use]
    pub fn of(&self, address: &Endpoint) -> Option<&AcknowledgedCrl> {
        self.gateways.get(&address.to_string())
    }
}

/// Unusable record of acknowledged CRLs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgedCrlsError {
    /// The file is damaged.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// A file error.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Coded for AcknowledgedCrlsError {
    fn coded(&self) -> Code {
        match self {
            Self::Damaged { .. } => Code::environment("gateways.acknowledged_damaged"),
            Self::File(error) => error.coded(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use time::macros::datetime;

    use super::*;

    fn crl(number: u64) -> AcknowledgedCrl {
        AcknowledgedCrl {
            issuer: KeyIdentifier(vec![7; 20]),
            number: CrlNumber::from(number),
            next_update: datetime!(2027-01-01 00:00 UTC),
            at: datetime!(2026-12-01 00:00 UTC),
        }
    }

    #[test]
    fn a_number_on_record_only_rises() {
        let home = tempfile::tempdir().unwrap();
        let [one, two] = ["api1.example.com:4523", "[::1]:1"].map(|text| text.parse::<Endpoint>().unwrap());
        assert_eq!(AcknowledgedCrls::load(home.path()).unwrap(), AcknowledgedCrls::default());
        let record = |address: &Endpoint, number| {
            AcknowledgedCrls::record(home.path(), [(address.clone(), crl(number))]).unwrap();
        };
        record(&one, 3);
        record(&two, 5);
        record(&one, 2);
        let known = AcknowledgedCrls::load(home.path()).unwrap();
        assert_eq!((known.of(&one), known.of(&two)), (Some(&crl(3)), Some(&crl(5))));
        // Another issuer begins at 1 again.
        let other = AcknowledgedCrl { issuer: KeyIdentifier(vec![8; 20]), ..crl(1) };
        AcknowledgedCrls::record(home.path(), [(one.clone(), other.clone())]).unwrap();
        assert_eq!(AcknowledgedCrls::load(home.path()).unwrap().of(&one), Some(&other));
    }

    #[test]
    fn a_damaged_file_is_reported_and_replaced_by_the_next_confirmation() {
        let home = tempfile::tempdir().unwrap();
        let address: Endpoint = "api1.example.com:4523".parse().unwrap();
        fs::write(home.path().join(AcknowledgedCrls::FILE), "{\"gateways\":").unwrap();
        let error = AcknowledgedCrls::load(home.path()).unwrap_err();
        assert_eq!(error.code(), "gateways.acknowledged_damaged");
        AcknowledgedCrls::record(home.path(), [(address.clone(), crl(1))]).unwrap();
        assert_eq!(AcknowledgedCrls::load(home.path()).unwrap().of(&address), Some(&crl(1)));
    }

    #[test]
    fn a_file_beyond_the_limit_counts_as_damaged() {
        let home = tempfile::tempdir().unwrap();
        let file = fs::File::create(home.path().join(AcknowledgedCrls::FILE)).unwrap();
        file.set_len(AcknowledgedCrls::LIMIT + 1).unwrap();
        assert_eq!(AcknowledgedCrls::load(home.path()).unwrap_err().code(), "gateways.acknowledged_damaged");
        let address: Endpoint = "api1.example.com:4523".parse().unwrap();
        AcknowledgedCrls::record(home.path(), [(address.clone(), crl(1))]).unwrap();
        assert_eq!(AcknowledgedCrls::load(home.path()).unwrap().of(&address), Some(&crl(1)));
    }

    #[test]
    fn every_gateway_that_a_list_can_hold_can_be_remembered() {
        let home = tempfile::tempdir().unwrap();
        let shortest = "- address: g0000:1\n".len();
        let most = usize::try_from(GatewayList::LIMIT).unwrap() / shortest;
        let longest = CrlNumber::from(u64::MAX);
        let confirmed = (0..most).map(|index| {
            let address = format!("g{index:04x}:1").parse::<Endpoint>().unwrap();
            (address, AcknowledgedCrl { number: longest, ..crl(0) })
        });
        AcknowledgedCrls::record(home.path(), confirmed).unwrap();
        let known = AcknowledgedCrls::load(home.path()).unwrap();
        assert_eq!(known.gateways.len(), most);
    }
}
