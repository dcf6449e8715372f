//! Entry for libFuzzer, built with `--cfg fuzzing` by `scripts/fuzz`.
//!
//! The environment variable `FUZZ_TARGET` names the target.

#![cfg_attr(fuzzing, no_main)]
#![cfg_attr(fuzzing, expect(clippy::unwrap_used, reason = "a fuzzer that finds no target fails"))]

#[cfg(fuzzing)]
mod targets;

#[cfg(fuzzing)]
mod entry {
    use std::sync::OnceLock;

    use crate::targets::{TARGETS, Target};

    libfuzzer_sys::fuzz_target!(|input: &[u8]| {
        static TARGET: OnceLock<Target> = OnceLock::new();
        let find = || {
            let name = std::env::var("FUZZ_TARGET").unwrap();
            TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target).unwrap()
        };
        TARGET.get_or_init(find)(input);
    });
}

#[cfg(not(fuzzing))]
fn main() {}
