//! From a span of time to use by day. Pure.
//!
//! The span's length comes from the monotonic clock, its place in the calendar from the clock on the wall as it is at its
//! end. So a wall clock that was set changes to which day something is counted, never how much.

use std::time::Duration;

use jiff::Timestamp;

use crate::server::domain::{Amount, Price, Size};

const DAY: i64 = 86_400_000;

/// The day that an instant is in: whole days since 1970.
pub fn day_of(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(DAY)
}

/// What a replica of `size` used from `since` to `until`, which is at `end` on the wall. Spans are cut to whole
/// milliseconds at both ends, so that neighbours meet.
pub fn count(size: Size, since: Duration, until: Duration, end: Timestamp, price: Price) -> Vec<(i64, Amount)> {
    let whole = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let mut left = whole(until).saturating_sub(whole(since)).max(0);
    let mut to = end.as_millisecond();
    let mut days = Vec::new();
    while left > 0 {
        let day = (to - 1).div_euclid(DAY);
        let here = left.min(to - day * DAY);
        days.push((day, price.of(size, here)));
        left -= here;
        to -= here;
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seconds: u64, end: &str) -> Vec<(i64, i64)> {
        let (since, end) = (Duration::from_secs(1000), end.parse().unwrap());
        let days = count(Size::from_milli(500), since, since + Duration::from_secs(seconds), end, Price::default());
        days.into_iter().map(|(day, amount)| (day, amount.used / 1_000_000)).collect()
    }

    #[test]
    fn a_span_is_counted_on_the_days_it_is_in() {
        assert_eq!(counted(60, "1970-01-03T00:01:00Z"), [(2, 30)]);
        assert_eq!(counted(60, "1970-01-03T00:00:00Z"), [(1, 30)], "midnight ends the day before");
        assert_eq!(counted(60, "1970-01-03T00:00:20Z"), [(2, 10), (1, 20)]);
        assert_eq!(counted(2 * 86_400 + 20, "1970-01-03T00:00:10Z"), [(2, 5), (1, 43_200), (0, 43_200), (-1, 5)]);
        assert_eq!(counted(0, "1970-01-03T00:00:20Z"), []);
    }

    #[test]
    fn neighbouring_spans_lose_nothing() {
        let end = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |n: u64| Duration::from_nanos(n * 1_234_567);
        let piece = |n| count(Size::from_milli(1000), at(n), at(n + 1), end, Price::default());
        let sum: i64 = (0..10_000).flat_map(piece).map(|(_, amount)| amount.used).sum();
        assert_eq!(sum, 12_345 * 1000, "12.345 seconds of size 1");
    }
}
