//! Everything that a reload replaces, built whole and swapped atomically.

pub mod loader;
