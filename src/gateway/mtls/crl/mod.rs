//! CRLs from files and the store of pushed CRLs.

pub mod files;
pub mod store;
