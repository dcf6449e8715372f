//! The CA as a server: the real program, called by curl over TLS.

mod api;
mod attacks;
mod conformance;
mod process;
mod roles;
mod running;
