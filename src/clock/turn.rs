//! Monotonic time that is read once per turn: one poll of a task, which lasts for less than a millisecond.
//!
//! A request needs the time in a dozen places, most of them to know seconds later when something has last moved.

use std::cell::Cell;
use std::time::Instant;

use super::source::Clock;

#[derive(Clone, Copy)]
enum Turn {
    /// No turn: each reading is new.
    None,
    /// The time was not needed yet.
    Unread,
    /// Time of the first reading.
    At(Instant),
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::None) };
}

/// Turn of the task that is polled on this thread, until it is dropped.
#[derive(Debug)]
pub struct TurnGuard(());

/// Start of a poll: later readings on this thread give the time of the first one.
#[must_use]
pub fn begin_turn() -> TurnGuard {
    TURN.set(Turn::Unread);
    TurnGuard(())
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        TURN.set(Turn::None);
    }
}

/// Time of `clock` at its first reading in this turn; outside of turns, now.
pub fn turn_time(clock: &dyn Clock) -> Instant {
    match TURN.get() {
        Turn::At(instant) => instant,
        Turn::Unread => read(clock),
        Turn::None => clock.monotonic(),
    }
}

/// Time of `clock` now, from which the turn goes on.
pub fn turn_time_now(clock: &dyn Clock) -> Instant {
    match TURN.get() {
        Turn::At(_) | Turn::Unread => read(clock),
        Turn::None => clock.monotonic(),
    }
}

fn read(clock: &dyn Clock) -> Instant {
    let now = clock.monotonic();
    TURN.set(Turn::At(now));
    now
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_time_stands_still_within_a_turn_and_nowhere_else() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        let start = clock.monotonic();
        clock.advance(second);
        assert_eq!(turn_time(&clock), start + second, "no turn");
        let turn = begin_turn();
        clock.advance(second);
        assert_eq!(turn_time(&clock), start + 2 * second, "not before it is needed");
        clock.advance(second);
        assert_eq!(turn_time(&clock), start + 2 * second);
        assert_eq!(turn_time_now(&clock), start + 3 * second);
        clock.advance(second);
        assert_eq!(turn_time(&clock), start + 3 * second);
        drop(turn);
        assert_eq!(turn_time(&clock), start + 4 * second);
    }
}
