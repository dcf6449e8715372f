//! `distribute`: certificate, key, trust bundle and CRL copied to hosts by ssh.

mod deliver;
mod job;
mod outcome;

pub(crate) use deliver::Distribute;
