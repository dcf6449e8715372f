//! Lockout of an account after consecutive failed logins.

use time::OffsetDateTime;

use crate::store::{LockoutState, SecuritySettings};

/// State after a failed attempt at `now`; with it, `None` if the account was locked before, and otherwise whether
/// this attempt locks it. An attempt during a lock does not extend it.
pub(super) fn after_failure(
    before: LockoutState,
    settings: &SecuritySettings,
    now: OffsetDateTime,
) -> (LockoutState, Option<bool>) {
    match before.locked_until {
        Some(until) if until > now => {
            (LockoutState { attempts: before.attempts.saturating_add(1), ..before }, None)
        }
        // The count starts again after a lock.
        ended => {
            let failures = if ended.is_some() { 1 } else { before.failures.saturating_add(1) };
            let locks = failures >= settings.failed_attempts;
            let locked_until = locks.then(|| now.saturating_add(settings.lockout_duration));
            (LockoutState { failures, locked_until, attempts: 0 }, Some(locks))
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2027-01-31 12:00 UTC);

    #[test]
    fn an_account_is_locked_by_the_last_permitted_failure_and_not_longer_by_others() {
        let settings = SecuritySettings::default();
        let mut state = LockoutState::default();
        for failure in 1..=5 {
            let (next, locks) = after_failure(state, &settings, NOW);
            assert_eq!((next.failures, locks), (failure, Some(failure == 5)));
            state = next;
        }
        let until = NOW + Duration::minutes(2);
        assert_eq!(state.locked_until, Some(until));
        for attempt in 1..=3 {
            let (next, locks) = after_failure(state, &settings, until - Duration::SECOND);
            assert_eq!((next.locked_until, next.attempts, locks), (Some(until), attempt, None));
            state = next;
        }
        let (next, locks) = after_failure(state, &settings, until);
        assert_eq!(
            (next.failures, next.locked_until, locks),
            (1, None, Some(false)),
            "the count starts again"
        );
    }

    #[test]
    fn a_smaller_limit_counts_earlier_failures() {
        let settings = SecuritySettings { failed_attempts: 2, ..SecuritySettings::default() };
        let before = LockoutState { failures: 3, ..LockoutState::default() };
        assert_eq!(after_failure(before, &settings, NOW).1, Some(true));
    }
}
