//! `freeze`: when an environment must not change, every week or once.
//!
//! The two kinds are told apart by how their moments are written, a weekday or a date, so no key has to say it.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{self, TimeZone};

use super::reader::{Table, Value};
use super::values::word;
use crate::domain::freeze::{Freeze, When};
use crate::domain::names::printable;
use crate::nearest::{did_you_mean, nearest};

/// What a moment looks like.
const MOMENT: &str = "it is a weekday and a time such as `fri 16:00`, or a date such as `2026-12-23` or `2026-12-23 08:00`";

/// The weekdays; three letters suffice.
const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// A moment as the file writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Of every week.
    Weekly(Weekday, Time),
    /// Once.
    Dated(DateTime),
}

/// Reads a freeze.
pub(super) fn read(value: Value<'_>) -> Option<Freeze> {
    value.table("freeze", |table| freeze(&table)).flatten()
}

fn freeze(table: &Table<'_>) -> Option<Freeze> {
    let from = table.need("from", "when it begins, `from = \"fri 16:00\"` for every week or `from = \"2026-12-23\"` for once");
    let to = table.need("to", "when it is over, `to = \"mon 08:00\"` for every week or `to = \"2027-01-02 08:00\"` for once");
    let when = match (from.and_then(|value| value.check(moment)), to.and_then(|value| Some((value, value.check(moment)?)))) {
        (Some(from), Some((value, to))) => when(from, to).map_err(|complaint| value.problem(complaint)).ok(),
        (Some(_), None) | (None, _) => None,
    };
    let zone = table.need("zone", "the place whose clock counts, `zone = \"Europe/Berlin\"`").and_then(zone);
    let reason = table.or("reason", "frozen".to_owned(), word);
    Some(Freeze { reason, zone: zone?, when: when? })
}

fn when(from: Moment, to: Moment) -> Result<When, &'static str> {
    match (from, to) {
        (Moment::Weekly(..), Moment::Weekly(..)) if from == to => {
            Err("`to` is the same moment as `from`: that could be never or always; let it be over a little earlier")
        }
        (Moment::Weekly(from_day, from), Moment::Weekly(to_day, to)) => {
            Ok(When::Weekly { from: (from_day, from), to: (to_day, to) })
        }
        (Moment::Dated(from), Moment::Dated(to)) if to <= from => {
            Err("`to` is not later than `from`; a date alone is its first minute, so a whole day ends with the date after it")
        }
        (Moment::Dated(from), Moment::Dated(to)) => Ok(When::Dated { from, to }),
        (Moment::Weekly(..), Moment::Dated(_)) | (Moment::Dated(_), Moment::Weekly(..)) => {
            Err("`from` and `to` are two weekdays, or two dates")
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    let (day, time) = text.trim().split_once(char::is_whitespace).map_or((text.trim(), None), |(day, time)| (day, Some(time)));
    let time = time.map(|time| time_of_day(time.trim_start()).ok_or("the time of day is `00:00` to `24:00`")).transpose()?;
    if day.starts_with(|c: char| c.is_ascii_digit()) {
        return date(day, time.unwrap_or((Time::midnight(), false))).map(Moment::Dated).ok_or_else(|| MOMENT.to_owned());
    }
    match (weekday(day), time) {
        (Some(day), Some((time, false))) => Ok(Moment::Weekly(day, time)),
        (Some(day), Some((midnight, true))) => Ok(Moment::Weekly(day.next(), midnight)),
        (Some(_), None) => Err("a weekday needs a time, such as `fri 16:00`".to_owned()),
        (None, _) => {
            let days = DAYS.iter().flat_map(|(name, _)| [name.get(..3).unwrap_or(name), name]);
            Err(format!("{MOMENT}{}", did_you_mean(day, days)))
        }
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    let text = text.to_lowercase();
    DAYS.iter().find(|(name, _)| *name == text || (text.len() == 3 && name.starts_with(&text))).map(|(_, day)| *day)
}

/// A time of day, and whether it is of the day after: `24:00` is the midnight at a day's end.
fn time_of_day(text: &str) -> Option<(Time, bool)> {
    if text == "24:00" {
        return Some((Time::midnight(), true));
    }
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, least| {
        let digits = (least..=2).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    };
    Some((Time::new(number(hour, 1)?, number(minute, 2)?, 0, 0).ok()?, false))
}

fn date(text: &str, (time, day_after): (Time, bool)) -> Option<DateTime> {
    let plain = text.len() == "2026-12-23".len() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date: Date = if plain { text.parse().ok()? } else { return None };
    let date = if day_after { date.tomorrow().ok()? } else { date };
    Some(date.to_datetime(time))
}

/// A time zone by its name in the IANA database: an offset such as `+01:00` knows no summer.
fn zone(value: Value<'_>) -> Option<TimeZone> {
    let name = value.text()?;
    let found = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    if found.is_none() {
        let known: Vec<String> = tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
        let known = || known.iter().map(String::as_str);
        // People often write the city alone.
        let city = |zone: &&str| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
        let guess = known().find(city).or_else(|| nearest(name, known()));
        let hint = guess.map_or_else(String::new, |zone| format!("; did you mean `{zone}`?"));
        value.problem(format!("no time zone `{}`: it is a name such as `Europe/Berlin` or `UTC`{hint}", printable(name, 40)));
    }
    found
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_weekly_or_dated() {
        let weekly = |day, hour, minute| Ok(Moment::Weekly(day, time(hour, minute, 0, 0)));
        assert_eq!(moment("fri 16:00"), weekly(Weekday::Friday, 16, 0));
        assert_eq!(moment("Friday  8:05"), weekly(Weekday::Friday, 8, 5));
        assert_eq!(moment("sun 24:00"), weekly(Weekday::Monday, 0, 0));
        let dated = |day, hour| Ok(Moment::Dated(date(2026, 12, day).at(hour, 0, 0, 0)));
        assert_eq!(moment("2026-12-23"), dated(23, 0));
        assert_eq!(moment("2026-12-23 08:00"), dated(23, 8));
        assert_eq!(moment("2026-12-23 24:00"), dated(24, 0));
    }

    #[test]
    fn what_is_no_moment_is_answered_with_what_is() {
        for text in ["", "23.12.2026", "2026-13-01", "2026-02-30", "20261223", "2026-12-23T08:00", "2026-1-2", "someday 16:00"] {
            assert_eq!(moment(text), Err(MOMENT.to_owned()), "{text}");
        }
        assert_eq!(moment("fryday 16:00"), Err(format!("{MOMENT}; did you mean `friday`?")));
        assert_eq!(moment("fri"), Err("a weekday needs a time, such as `fri 16:00`".to_owned()));
        for text in ["fri 24:01", "fri 16", "fri 16:0", "fri 16:000", "fri +1:00", "2026-12-23 8pm", "fri "] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9:\\- é]{0,20}") {
            let _ = moment(&text);
        }

        #[test]
        fn every_minute_of_a_day_can_be_written(hour in 0..24i8, minute in 0..60i8) {
            prop_assert_eq!(time_of_day(&format!("{hour:02}:{minute:02}")), Some((time(hour, minute, 0, 0), false)));
        }
    }
}
