//! The mutual-TLS gateway.

fn main() {}
