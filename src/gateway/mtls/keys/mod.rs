//! Private keys of a TLS endpoint and the threads that open them.

pub mod opener;
