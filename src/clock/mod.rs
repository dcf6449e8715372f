//! Time, randomness and durations: the only module that asks the system for any of them.
//!
//! Everything else takes a [`Clock`] or an [`Entropy`] as a parameter. A test then decides what the time is,
//! and a library user decides where serial numbers come from.
//!
//! | file | contents |
//! |---|---|
//! | `source` | the [`Clock`] trait: wall clock, monotonic clock, pauses |
//! | `system` | the machine's clock |
//! | `fixed` | a fixed wall clock, for `--at TIME` |
//! | `manual` | a clock that moves only when it is told to, for tests |
//! | `io_deadline` | deadlines of blocking I/O, which only real time can end |
//! | `turn` | monotonic time, read once per poll of a task |
//! | `entropy` | random bytes |
//! | `timestamp` | times as text (RFC 3339) |
//! | `duration` | durations as text (`1d12h`) |
//! | `error` | times and durations that cannot be read |

mod duration;
mod entropy;
mod error;
mod fixed;
mod io_deadline;
mod manual;
mod source;
mod system;
mod timestamp;
mod turn;

pub use duration::{format_duration, parse_duration};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use error::TimeTextError;
pub use fixed::FixedClock;
pub use io_deadline::{DeadlineStream, IoDeadline};
pub use manual::ManualClock;
pub use source::Clock;
pub use system::SystemClock;
pub use timestamp::{parse_time, rfc3339};
pub use turn::{TurnGuard, begin_turn, turn_time, turn_time_now};
