//! What happens once a day at a time of the day, by the wall clock of a time zone.
//!
//! When it is due follows from when it happened last, and not from a timer: so nothing is left out after a day of rest, and
//! nothing comes twice after a restart.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// A time of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    /// When, by the wall clock.
    pub at: Time,
    /// Whose wall clock.
    pub zone: TimeZone,
}

impl Daily {
    /// When it is due: not after `now` if it is due already. `last` is when it happened last; never means due now.
    pub fn due(&self, last: Option<Timestamp>, now: Timestamp) -> Timestamp {
        match last {
            // A clock that was wrong once must not silence it for years.
            Some(last) => self.first_after(last.min(now)),
            None => now,
        }
    }

    /// The first time after a moment at which the clock shows the time. A time that the clock leaps over in spring comes by as much
    /// later; of one that it shows twice in autumn the first counts.
    fn first_after(&self, moment: Timestamp) -> Timestamp {
        let day = moment.to_zoned(self.zone.clone()).date();
        let days = [Ok(day), day.tomorrow()].into_iter().flatten();
        let mut times = days.filter_map(|day| Some(day.to_datetime(self.at).to_zoned(self.zone.clone()).ok()?.timestamp()));
        // The calendar ends in the year 9999.
        times.find(|time| *time > moment).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily(at: &str, zone: &str) -> Daily {
        Daily { at: at.parse().unwrap(), zone: TimeZone::get(zone).unwrap() }
    }

    #[test]
    fn it_is_due_at_its_time_once_a_day() {
        let daily = daily("09:00", "Europe/Berlin");
        for (last, due) in [
            ("2026-11-27T07:59:59Z", "2026-11-27T08:00:00Z"),
            ("2026-11-27T08:00:00Z", "2026-11-28T08:00:00Z"),
            ("2026-11-27T23:30:00Z", "2026-11-28T08:00:00Z"),
            // The clocks were put back on the 25th of October.
            ("2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"),
        ] {
            assert_eq!(daily.due(Some(time(last)), time("2027-01-01T00:00:00Z")), time(due), "{last}");
        }
    }

    #[test]
    fn what_never_happened_or_was_missed_is_due_now() {
        let (daily, now) = (daily("09:00", "UTC"), time("2026-11-27T12:00:00Z"));
        assert!(daily.due(None, now) <= now);
        assert!(daily.due(Some(time("2026-11-20T09:00:00Z")), now) <= now);
        assert!(daily.due(Some(time("2026-11-27T09:00:00Z")), now) > now);
    }

    #[test]
    fn a_time_that_the_clock_leaps_over_comes_later_and_one_that_it_shows_twice_comes_once() {
        let daily = daily("02:30", "Europe/Berlin");
        assert_eq!(daily.due(Some(time("2026-03-28T12:00:00Z")), time("2026-04-01T00:00:00Z")), time("2026-03-29T01:30:00Z"));
        let first = daily.due(Some(time("2026-10-24T12:00:00Z")), time("2026-11-01T00:00:00Z"));
        assert_eq!(first, time("2026-10-25T00:30:00Z"));
        assert_eq!(daily.due(Some(first), time("2026-11-01T00:00:00Z")), time("2026-10-26T01:30:00Z"));
    }

    #[test]
    fn a_clock_that_was_wrong_doesnt_silence_it() {
        let (daily, now) = (daily("09:00", "UTC"), time("2026-11-27T12:00:00Z"));
        assert_eq!(daily.due(Some(time("2031-01-01T00:00:00Z")), now), time("2026-11-28T09:00:00Z"));
        assert_eq!(daily.due(Some(Timestamp::MAX), Timestamp::MAX), Timestamp::MAX);
    }
}
