//! When runs are due. Pure.
//!
//! A pattern is meant in its time zone. A fixed time that a clock skips in spring is due at the first moment after the
//! gap; one that it shows twice in autumn is due once, the first time. What repeats (`*`, `*/15`) goes by real time: it
//! is not due inside the gap, and comes again in the repeated hour.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::server::domain::Invalid;

/// How late a run may begin that is not missed.
pub(super) const LATE: Duration = Duration::from_secs(60);
/// A clock that was set back by more than this begins anew; by less, no run comes twice.
const SET_BACK: SignedDuration = SignedDuration::from_hours(1);
/// Missed runs are counted so far.
const COUNTED: u32 = 1000;

/// A pattern in its time zone.
#[derive(Debug, Clone)]
pub struct Timing {
    cron: Cron,
    zone: TimeZone,
}

/// What is to be done about a schedule now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Due {
    /// When the run was due that begins now.
    pub(super) run: Option<Timestamp>,
    /// Runs that were missed: how many, the first, the last.
    pub(super) missed: Option<(u32, Timestamp, Timestamp)>,
}

impl Timing {
    /// Checks a pattern of five fields, or six with seconds in front, and an IANA time zone.
    pub fn parse(cron: &str, tz: &str) -> Result<Self, Invalid> {
        let refuse = |why: String| Invalid::new("schedule", why);
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(cron).map_err(|error| {
            refuse(format!("`{}` is no cron pattern such as `0 3 * * *`: {error}", cron.escape_debug()))
        })?;
        let unknown = |_| Invalid::new("tz", format!("`{}` is no time zone such as Europe/Rome", tz.escape_debug()));
        let zone = TimeZone::get(tz).map_err(unknown)?;
        Ok(Self { cron, zone })
    }

    /// When it is due next; `None` if never again.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
    }

    /// What came due after `seen`, up to now.
    pub(super) fn due(&self, seen: Timestamp, now: Timestamp) -> Due {
        let mut due = Due::default();
        let mut after = seen;
        let mut late = 0;
        while let Some(next) = self.next_after(after).filter(|next| *next <= now) {
            if now.duration_since(next) <= SignedDuration::try_from(LATE).unwrap_or_default() {
                // Of several that are not late, the last runs; the others would only have waited for it.
                due.run = Some(next);
            } else {
                late += 1;
                let first = due.missed.map_or(next, |(_, first, _)| first);
                due.missed = Some((late, first, next));
                if late == COUNTED {
                    return Due { run: None, ..due };
                }
            }
            after = next;
        }
        due
    }
}

/// From when on runs are to be looked for. Clocks are set back by people; what was seen then lies in the future.
pub(super) fn seen_or_set_back(seen: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (seen.duration_since(now) <= SET_BACK).then_some(seen)
}

impl FromStr for Timing {
    type Err = Invalid;

    /// A pattern in UTC.
    fn from_str(cron: &str) -> Result<Self, Invalid> {
        Self::parse(cron, "UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The next runs after a moment.
    fn runs(cron: &str, tz: &str, after: &str, count: usize) -> Vec<String> {
        let timing = Timing::parse(cron, tz).unwrap();
        let next = |after: &Timestamp| timing.next_after(*after);
        std::iter::successors(next(&at(after)), next).take(count).map(|time| time.to_string()).collect()
    }

    #[test]
    fn patterns_are_meant_in_their_zone() {
        assert_eq!(runs("0 3 * * *", "UTC", "2026-01-01T03:00:00Z", 1), ["2026-01-02T03:00:00Z"]);
        assert_eq!(runs("0 3 * * *", "Europe/Rome", "2026-01-01T00:00:00Z", 1), ["2026-01-01T02:00:00Z"]);
        assert_eq!(runs("0 3 * * *", "Europe/Rome", "2026-07-01T00:00:00Z", 1), ["2026-07-01T01:00:00Z"]);
        let seconds = ["2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"];
        assert_eq!(runs("*/10 * * * * *", "UTC", "2026-01-01T00:00:00Z", 2), seconds);
        assert_eq!(runs("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
        assert_eq!(runs("0 0 31 2 *", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0], "never");
        for (cron, tz) in [("", "UTC"), ("60 * * * *", "UTC"), ("* * * *", "UTC"), ("* * * * *", "Mars/Base")] {
            assert!(Timing::parse(cron, tz).is_err(), "{cron} {tz}");
        }
    }

    /// Rome, 29 March 2026: 02:00 becomes 03:00.
    #[test]
    fn a_skipped_hour_is_made_up_for_at_its_end() {
        let fixed = runs("30 2 * * *", "Europe/Rome", "2026-03-28T12:00:00Z", 2);
        assert_eq!(fixed, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"], "03:00, and the next day 02:30");
        let repeated = runs("*/30 * * * *", "Europe/Rome", "2026-03-29T00:15:00Z", 3);
        assert_eq!(repeated, ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    }

    /// Rome, 25 October 2026: 03:00 becomes 02:00.
    #[test]
    fn a_repeated_hour_has_a_fixed_time_once() {
        let fixed = runs("30 2 * * *", "Europe/Rome", "2026-10-24T12:00:00Z", 2);
        assert_eq!(fixed, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let repeated = runs("*/30 * * * *", "Europe/Rome", "2026-10-25T00:15:00Z", 4);
        let real_time =
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(repeated, real_time);
    }

    #[test]
    fn what_is_late_is_missed_and_what_is_not_runs_once() {
        let hourly: Timing = "0 * * * *".parse().unwrap();
        let seen = at("2026-01-01T00:00:00Z");
        let due = |now: &str| hourly.due(seen, at(now));
        assert_eq!(due("2026-01-01T00:59:59Z"), Due::default());
        let first = at("2026-01-01T01:00:00Z");
        assert_eq!(due("2026-01-01T01:00:00Z"), Due { run: Some(first), missed: None });
        assert_eq!(due("2026-01-01T01:00:59Z"), Due { run: Some(first), missed: None });
        assert_eq!(due("2026-01-01T01:01:30Z"), Due { run: None, missed: Some((1, first, first)) });
        let third = at("2026-01-01T03:00:00Z");
        let both = Due { run: Some(third), missed: Some((2, first, at("2026-01-01T02:00:00Z"))) };
        assert_eq!(due("2026-01-01T03:00:10Z"), both);
        let often: Timing = "* * * * * *".parse().unwrap();
        let short = often.due(seen, at("2026-01-01T00:00:05Z"));
        assert_eq!(short, Due { run: Some(at("2026-01-01T00:00:05Z")), missed: None });
        let long = often.due(seen, at("2026-02-01T00:00:00Z"));
        assert_eq!((long.run, long.missed.map(|missed| missed.0)), (None, Some(COUNTED)), "the counting has an end");
    }

    #[test]
    fn a_clock_that_was_set_back_runs_nothing_twice_or_begins_anew() {
        let seen = at("2026-01-01T12:00:00Z");
        assert_eq!(seen_or_set_back(seen, at("2026-01-01T11:30:00Z")), Some(seen));
        assert_eq!(seen_or_set_back(seen, at("2025-06-01T00:00:00Z")), None);
        let often: Timing = "* * * * *".parse().unwrap();
        assert_eq!(often.due(seen, at("2026-01-01T11:30:00Z")), Due::default());
    }
}
