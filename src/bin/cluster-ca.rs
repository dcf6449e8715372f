//! The certificate authority's command line.

fn main() {}
