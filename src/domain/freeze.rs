//! Freezes: times at which an environment must not change, in the time zone that people live in.
//!
//! A freeze is half-open: it holds at its first minute and no longer at its last. It is judged by the wall clock of its zone, so a
//! weekend begins on Friday at 16:00 in summer and in winter. Where the clock goes back over its edge it holds rather too long
//! than too short: an hour that is shown twice is frozen both times.

use std::iter::successors;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// A time at which nothing may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Why, for people.
    pub reason: String,
    /// The zone whose wall clock counts.
    pub zone: TimeZone,
    /// When.
    pub when: When,
}

/// When a freeze holds, by the wall clock of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Once, from a moment to another.
    Dated {
        /// The first moment.
        from: DateTime,
        /// The first moment after it.
        to: DateTime,
    },
    /// Every week, from a moment to another one at most a week later; `from` and `to` may lie in two weeks. If they are the same
    /// it holds always, a week at a time.
    Weekly {
        /// The first moment.
        from: (Weekday, Time),
        /// The first moment after it.
        to: (Weekday, Time),
    },
}

/// Which end of a hold a moment is.
#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

impl Freeze {
    /// Whether nothing may change at this moment.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.ends(now).is_some()
    }

    /// The end of the hold that goes on; `None` when none does.
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.next(now).filter(|(start, _)| *start <= now).map(|(_, end)| end)
    }

    /// The hold that goes on or comes next: its start and its end. `None` when a dated one is over, or the calendar is.
    pub fn next(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let is_ahead = |(start, end): &(Timestamp, Timestamp)| start < end && now < *end;
        match self.when {
            When::Dated { from, to } => Some((from, to)).filter(|_| from < to).map(|hold| self.hold(hold)).filter(is_ahead),
            When::Weekly { from, to } => self.weeks(from, to, now).map(|hold| self.hold(hold)).find(is_ahead),
        }
    }

    /// The holds of the weeks around a moment, the earliest first, by the clock of the zone.
    fn weeks(
        &self,
        from: (Weekday, Time),
        to: (Weekday, Time),
        now: Timestamp,
    ) -> impl Iterator<Item = (DateTime, DateTime)> + use<> {
        let today = self.zone.to_datetime(now).date();
        let since = i64::from(from.0.until(today.weekday()));
        let lasts = match from.0.until(to.0) {
            0 if to.1 <= from.1 => 7,
            days => i64::from(days),
        };
        // Last week's may still go on. This week's may be over, and next week's lie in a day that the zone leaves out.
        (-1..=2).filter_map(move |week| {
            let first = today.checked_add((week * 7 - since).days()).ok()?;
            let last = first.checked_add(lasts.days()).ok()?;
            Some((first.to_datetime(from.1), last.to_datetime(to.1)))
        })
    }

    fn hold(&self, (from, to): (DateTime, DateTime)) -> (Timestamp, Timestamp) {
        (self.moment(from, Edge::Start), self.moment(to, Edge::End))
    }

    /// When the clock of the zone shows `at`. What it shows twice begins at the first time and ends at the second; what it skips
    /// is the moment at which it skips it.
    fn moment(&self, at: DateTime, edge: Edge) -> Timestamp {
        let shown = self.zone.to_ambiguous_timestamp(at);
        let moment = match (shown.offset(), edge) {
            (AmbiguousOffset::Gap { .. }, Edge::Start | Edge::End) => shown.earlier().map(|before| self.passes(at, before)),
            (AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. }, Edge::Start) => shown.earlier(),
            (AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. }, Edge::End) => shown.later(),
        };
        moment.unwrap_or(if at.year() < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }

    /// When the clock jumps over `at`, which is after `before`.
    fn passes(&self, at: DateTime, before: Timestamp) -> Timestamp {
        let mut jumps = self.zone.following(before).map(|change| change.timestamp());
        jumps.find(|jump| self.zone.to_datetime(*jump) > at).unwrap_or(before)
    }
}

/// The freeze that holds longest from now on, with its end; `None` when none holds.
pub fn in_force(freezes: &[Freeze], now: Timestamp) -> Option<(&Freeze, Timestamp)> {
    let holding = freezes.iter().filter_map(|freeze| Some((freeze, freeze.ends(now)?)));
    holding.reduce(|longest, other| if other.1 > longest.1 { other } else { longest })
}

/// The holds that go on or come next, at most `limit`, in the order of their starts: each with its start, its end and its freeze.
/// A weekly freeze comes as often as there is room.
pub fn upcoming(freezes: &[Freeze], now: Timestamp, limit: usize) -> Vec<(Timestamp, Timestamp, &Freeze)> {
    let of_freeze = |freeze| {
        let holds = successors(Freeze::next(freeze, now), move |(_, end)| freeze.next(*end));
        holds.take(limit).map(move |(start, end)| (start, end, freeze))
    };
    let mut holds: Vec<_> = freezes.iter().flat_map(of_freeze).collect();
    holds.sort_by_key(|(start, end, _)| (*start, *end));
    holds.truncate(limit);
    holds
}

#[cfg(test)]
mod tests {
    use jiff::civil::Weekday::{Friday, Monday, Saturday, Sunday};
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",      // at midnight
        "Australia/Lord_Howe", // by half an hour
        "Pacific/Apia",        // left out a Friday
        "Africa/Casablanca",   // four changes a year
        "America/St_Johns",
    ];

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn freeze(zone: &str, when: When) -> Freeze {
        Freeze { reason: "quiet".to_owned(), zone: TimeZone::get(zone).unwrap(), when }
    }

    fn weekly(zone: &str, from: (Weekday, &str), to: (Weekday, &str)) -> Freeze {
        let time = |(day, time): (Weekday, &str)| (day, time.parse().unwrap());
        freeze(zone, When::Weekly { from: time(from), to: time(to) })
    }

    fn dated(zone: &str, from: &str, to: &str) -> Freeze {
        freeze(zone, When::Dated { from: from.parse().unwrap(), to: to.parse().unwrap() })
    }

    fn hold(freeze: &Freeze, now: &str) -> Option<(String, String)> {
        let zoned = |at: Timestamp| at.to_zoned(freeze.zone.clone()).strftime("%a %F %R %:z").to_string();
        freeze.next(at(now)).map(|(start, end)| (zoned(start), zoned(end)))
    }

    fn said(start: &str, end: &str) -> Option<(String, String)> {
        Some((start.to_owned(), end.to_owned()))
    }

    #[test]
    fn a_dated_freeze_holds_at_its_first_moment_and_no_longer_at_its_last() {
        let christmas = dated("Europe/Berlin", "2026-12-23T18:00", "2027-01-04T06:00");
        for (now, holds) in [
            ("2026-12-23T16:59:59.999Z", false),
            ("2026-12-23T17:00:00Z", true),
            ("2027-01-04T04:59:59.999Z", true),
            ("2027-01-04T05:00:00Z", false),
        ] {
            assert_eq!(christmas.holds(at(now)), holds, "{now}");
        }
        assert_eq!(christmas.ends(at("2026-12-24T00:00:00Z")), Some(at("2027-01-04T05:00:00Z")));
        assert_eq!(hold(&christmas, "2026-01-01T00:00:00Z"), said("Wed 2026-12-23 18:00 +01:00", "Mon 2027-01-04 06:00 +01:00"));
        assert_eq!(hold(&christmas, "2027-01-04T05:00:00Z"), None);
    }

    #[test]
    fn a_freeze_whose_end_is_not_after_its_start_never_holds() {
        // Shown twice, so the first and the second time would make an hour of it.
        let folded = dated("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T02:30");
        assert_eq!(hold(&folded, "2026-01-01T00:00:00Z"), None);
        assert_eq!(hold(&dated("UTC", "2026-02-02T00:00", "2026-02-01T00:00"), "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn a_weekend_begins_and_ends_at_the_same_time_in_summer_and_in_winter() {
        let weekend = weekly("Europe/Berlin", (Friday, "16:00"), (Monday, "08:00"));
        // The clocks go forward on the 29th of March, and back on the 25th of October.
        let spring = said("Fri 2026-03-27 16:00 +01:00", "Mon 2026-03-30 08:00 +02:00");
        let autumn = said("Fri 2026-10-23 16:00 +02:00", "Mon 2026-10-26 08:00 +01:00");
        for now in ["2026-03-23T07:00:00Z", "2026-03-27T15:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T05:59:59Z"] {
            assert_eq!(hold(&weekend, now), spring, "{now}");
        }
        for now in ["2026-10-23T13:59:59Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T06:59:59Z"] {
            assert_eq!(hold(&weekend, now), autumn, "{now}");
        }
        assert!(!weekend.holds(at("2026-03-30T06:00:00Z")) && !weekend.holds(at("2026-10-26T07:00:00Z")));
    }

    #[test]
    fn a_weekly_freeze_may_leave_out_only_a_few_hours_or_none() {
        let but_sunday_morning = weekly("UTC", (Sunday, "22:00"), (Sunday, "06:00"));
        assert_eq!(
            hold(&but_sunday_morning, "2026-11-28T12:00:00Z"),
            said("Sun 2026-11-22 22:00 +00:00", "Sun 2026-11-29 06:00 +00:00")
        );
        assert!(!but_sunday_morning.holds(at("2026-11-29T12:00:00Z")));
        assert_eq!(
            hold(&but_sunday_morning, "2026-11-29T12:00:00Z"),
            said("Sun 2026-11-29 22:00 +00:00", "Sun 2026-12-06 06:00 +00:00")
        );
        let always = weekly("UTC", (Monday, "09:00"), (Monday, "09:00"));
        assert!(always.holds(at("2026-11-30T08:59:59Z")) && always.holds(at("2026-11-30T09:00:00Z")));
        let evening = weekly("UTC", (Friday, "18:00"), (Friday, "20:00"));
        assert_eq!(hold(&evening, "2026-11-27T20:00:00Z"), said("Fri 2026-12-04 18:00 +00:00", "Fri 2026-12-04 20:00 +00:00"));
    }

    #[test]
    fn an_hour_that_the_clock_shows_twice_is_frozen_both_times() {
        let night = dated("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T02:45");
        assert_eq!(hold(&night, "2026-10-24T00:00:00Z"), said("Sun 2026-10-25 02:30 +02:00", "Sun 2026-10-25 02:45 +01:00"));
    }

    #[test]
    fn an_hour_that_the_clock_skips_begins_and_ends_when_it_is_skipped() {
        let from_gap = dated("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T05:00");
        assert_eq!(hold(&from_gap, "2026-03-01T00:00:00Z"), said("Sun 2026-03-29 03:00 +02:00", "Sun 2026-03-29 05:00 +02:00"));
        let to_gap = weekly("Europe/Berlin", (Saturday, "22:00"), (Sunday, "02:30"));
        assert_eq!(hold(&to_gap, "2026-03-29T00:00:00Z"), said("Sat 2026-03-28 22:00 +01:00", "Sun 2026-03-29 03:00 +02:00"));
        let in_gap = dated("Europe/Berlin", "2026-03-29T02:10", "2026-03-29T02:50");
        assert_eq!(hold(&in_gap, "2026-03-01T00:00:00Z"), None);
        // Samoa had no 30th of December 2011.
        let fridays = weekly("Pacific/Apia", (Friday, "08:00"), (Friday, "18:00"));
        assert_eq!(hold(&fridays, "2011-12-29T12:00:00Z"), said("Fri 2012-01-06 08:00 +14:00", "Fri 2012-01-06 18:00 +14:00"));
    }

    #[test]
    fn the_freeze_that_holds_longest_counts() {
        let now = at("2026-12-25T12:00:00Z");
        let freezes = [
            weekly("UTC", (Friday, "00:00"), (Monday, "00:00")),
            dated("UTC", "2026-12-23T18:00", "2027-01-04T06:00"),
            weekly("UTC", (Monday, "00:00"), (Friday, "00:00")),
        ];
        assert_eq!(in_force(&freezes, now), Some((&freezes[1], at("2027-01-04T06:00:00Z"))));
        assert_eq!(in_force(&freezes[..1], now), Some((&freezes[0], at("2026-12-28T00:00:00Z"))));
        assert_eq!(in_force(&freezes[2..], now), None);
    }

    #[test]
    fn what_comes_is_listed_in_order_and_weekly_freezes_repeat() {
        let freezes = [dated("UTC", "2026-12-23T18:00", "2027-01-04T06:00"), weekly("UTC", (Friday, "16:00"), (Monday, "08:00"))];
        let list = |limit| -> Vec<String> {
            upcoming(&freezes, at("2026-12-12T12:00:00Z"), limit).into_iter().map(|(start, ..)| start.to_string()).collect()
        };
        let starts = ["2026-12-11T16:00:00Z", "2026-12-18T16:00:00Z", "2026-12-23T18:00:00Z", "2026-12-25T16:00:00Z"];
        assert_eq!(list(4), starts);
        assert_eq!(list(0), Vec::<String>::new());
        assert_eq!(upcoming(&freezes[..1], at("2028-01-01T00:00:00Z"), 9), vec![]);
    }

    fn day() -> impl Strategy<Value = (Weekday, Time)> {
        (1i8..=7, 0i8..24, 0i8..60)
            .prop_map(|(day, hour, minute)| (Weekday::from_monday_one_offset(day).unwrap(), Time::constant(hour, minute, 0, 0)))
    }

    fn moments() -> impl Strategy<Value = Timestamp> {
        let seconds = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
        let near = |edge: i64, span: i64| (edge.saturating_sub(span)..=edge.saturating_add(span)).prop_map(|second| second);
        let edges = prop_oneof![near(Timestamp::MIN.as_second(), 2_000_000), near(Timestamp::MAX.as_second(), 2_000_000)];
        let any = prop_oneof![seconds, edges, 0i64..4_000_000_000];
        any.prop_map(|second| Timestamp::from_second(second).unwrap_or(if second < 0 { Timestamp::MIN } else { Timestamp::MAX }))
    }

    fn freezes() -> impl Strategy<Value = Freeze> {
        let civil = || {
            (moments(), 0usize..2).prop_map(|(at, far)| match far {
                0 => TimeZone::UTC.to_datetime(at),
                _ => DateTime::MAX,
            })
        };
        let when = prop_oneof![
            (day(), day()).prop_map(|(from, to)| When::Weekly { from, to }),
            (civil(), civil()).prop_map(|(from, to)| When::Dated { from, to }),
        ];
        (proptest::sample::select(ZONES.to_vec()), when).prop_map(|(zone, when)| freeze(zone, when))
    }

    proptest! {
        #[test]
        fn whether_a_freeze_holds_and_when_it_comes_agree_at_any_time(freeze in freezes(), now in moments()) {
            match freeze.next(now) {
                Some((start, end)) => {
                    prop_assert!(start < end && now < end);
                    prop_assert_eq!(freeze.holds(now), start <= now);
                    prop_assert_eq!(freeze.ends(now), Some(end).filter(|_| start <= now));
                    prop_assert!(freeze.holds(start));
                }
                None => prop_assert!(!freeze.holds(now)),
            }
            let freezes = [freeze];
            let ahead = upcoming(&freezes, now, 5);
            prop_assert!(ahead.is_sorted_by_key(|(start, ..)| *start));
            prop_assert!(ahead.iter().all(|(start, end, _)| start < end && now < *end));
        }

        /// The clock on the wall and the days of the week, without a calendar: an hour that is shown twice is left out.
        #[test]
        fn a_weekly_freeze_holds_when_the_clock_on_the_wall_says_so(
            zone in proptest::sample::select(ZONES.to_vec()),
            from in day(),
            to in day(),
            second in 0i64..4_000_000_000,
        ) {
            let freeze = freeze(zone, When::Weekly { from, to });
            let now = Timestamp::from_second(second).unwrap();
            let wall = freeze.zone.to_datetime(now);
            prop_assume!(!freeze.zone.to_ambiguous_timestamp(wall).is_ambiguous());
            let place = |(day, time): (Weekday, Time)| (day.to_monday_one_offset(), time);
            let (from, to, wall) = (place(from), place(to), place((wall.weekday(), wall.time())));
            let inside = if from < to { from <= wall && wall < to } else { from <= wall || wall < to };
            prop_assert_eq!(freeze.holds(now), inside);
        }
    }
}
