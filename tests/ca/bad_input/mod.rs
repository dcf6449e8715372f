//! Every mistake is refused with one clear error, its stable code and exit code, and nothing in the
//! home has changed afterwards.

mod disk;
mod homes;
mod names;
mod requests;
mod templates;
mod times;

use crate::home::{Home, Refusal};

/// Runs a command that has to be refused in a home that has a cluster, and checks that the home is
/// as it was.
fn refused_without_a_trace(home: &Home, arguments: &[&str], exit: i32, code: &str) -> Refusal {
    let before = home.state();
    let refusal = home.refused(arguments);
    assert_eq!((refusal.exit, refusal.code.as_str()), (exit, code), "{arguments:?}: {refusal:?}");
    assert!(!refusal.message.is_empty(), "{arguments:?}: no words");
    assert!(home.state() == before, "{arguments:?} was refused and changed the home");
    refusal
}
