//! `distribute`: certificate, key, trust bundle and CRL carried to the machines that use them.

mod deliver;
mod job;
mod outcome;

pub(crate) use deliver::Distribute;
