use jiff::civil::Date;
use jiff::{Span, ToSpan};

use super::{Invalid, Size};

/// What a replica-size-second costs, in billionths of a cent: no fraction of a sum is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price(i64);

impl Price {
    /// From the operator's number, in whole units of the currency (dollars, euros).
    pub fn parse(units: f64) -> Result<Self, Invalid> {
        match (0.0..=1000.0).contains(&units) {
            true => Ok(Self((units * 1e11).round() as i64)),
            false => Err(Invalid::new("price", "must be between 0 and 1000")),
        }
    }

    /// What a replica of this size uses in so many milliseconds.
    pub fn of(self, size: Size, milliseconds: i64) -> Amount {
        let used = i64::from(size.milli()).saturating_mul(milliseconds);
        let cost = i128::from(used) * i128::from(self.0) / 1_000_000;
        Amount { used, cost: i64::try_from(cost).unwrap_or(i64::MAX) }
    }
}

/// So much use, and its cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Millionths of a replica-size-second.
    pub used: i64,
    /// Billionths of a cent.
    pub cost: i64,
}

impl Amount {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self { used: self.used.saturating_add(other.used), cost: self.cost.saturating_add(other.cost) }
    }

    /// Rounded to whole replica-size-seconds.
    pub fn replica_size_seconds(self) -> i64 {
        self.used.saturating_add(500_000) / 1_000_000
    }

    /// Rounded to whole cents.
    pub fn cents(self) -> i64 {
        self.cost.saturating_add(500_000_000) / 1_000_000_000
    }
}

/// A month of an account: from the day of the month on which it was made to the day before that of the next month. Where
/// a month is too short, its last day stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// The first day.
    pub start: Date,
    /// The day after the last.
    pub end: Date,
}

impl Period {
    /// The period of an account made on `signup` in which `day` is. Counted from the signup each time, so that a short
    /// month does not move all later ones.
    pub fn containing(signup: Date, day: Date) -> Self {
        let months = (i32::from(day.year()) - i32::from(signup.year())) * 12 + i32::from(day.month())
            - i32::from(signup.month());
        let begun = months - i32::from(nth(signup, months) > day);
        Self { start: nth(signup, begun), end: nth(signup, begun + 1) }
    }

    /// The first day and the day after the last, as whole days since 1970.
    pub fn day_numbers(self) -> std::ops::Range<i64> {
        number(self.start)..number(self.end)
    }

    /// Milliseconds it has.
    pub fn milliseconds(self) -> i64 {
        let days = self.day_numbers();
        (days.end - days.start) * 86_400_000
    }
}

fn number(date: Date) -> i64 {
    i64::from((date - jiff::civil::date(1970, 1, 1)).get_days())
}

fn nth(signup: Date, months: i32) -> Date {
    let span: Span = months.months();
    signup.saturating_add(span)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn period(signup: Date, day: Date) -> (String, String) {
        let Period { start, end } = Period::containing(signup, day);
        (start.to_string(), end.to_string())
    }

    fn days(start: &str, end: &str) -> (String, String) {
        (start.to_owned(), end.to_owned())
    }

    #[test]
    fn a_period_begins_on_the_signups_day() {
        let signup = date(2026, 1, 15);
        assert_eq!(period(signup, date(2026, 1, 15)), days("2026-01-15", "2026-02-15"));
        assert_eq!(period(signup, date(2026, 2, 14)), days("2026-01-15", "2026-02-15"));
        assert_eq!(period(signup, date(2026, 2, 15)), days("2026-02-15", "2026-03-15"));
        assert_eq!(period(signup, date(2027, 1, 1)), days("2026-12-15", "2027-01-15"));
    }

    #[test]
    fn short_months_and_leap_days_shift_nothing() {
        let signup = date(2027, 12, 31);
        assert_eq!(period(signup, date(2028, 2, 28)), days("2028-01-31", "2028-02-29"), "a leap year");
        assert_eq!(period(signup, date(2028, 2, 29)), days("2028-02-29", "2028-03-31"));
        assert_eq!(period(signup, date(2028, 3, 30)), days("2028-02-29", "2028-03-31"));
        assert_eq!(period(signup, date(2028, 3, 31)), days("2028-03-31", "2028-04-30"));
        assert_eq!(period(signup, date(2029, 2, 28)), days("2029-02-28", "2029-03-31"), "no leap year");
        assert_eq!(period(date(2028, 2, 29), date(2029, 3, 1)), days("2029-02-28", "2029-03-29"));
    }

    #[test]
    fn every_day_is_in_exactly_one_period() {
        for signup in [date(2024, 1, 31), date(2024, 2, 29), date(2023, 12, 30), date(2024, 6, 1)] {
            let mut day = signup;
            let mut current = Period::containing(signup, day);
            while day < date(2029, 1, 1) {
                let period = Period::containing(signup, day);
                assert!(period.start <= day && day < period.end, "{signup} {day} {period:?}");
                assert!(period == current || period.start == current.end, "{signup} {day} {period:?}");
                current = period;
                day = day.tomorrow().unwrap();
            }
        }
    }

    #[test]
    fn the_contracts_example_is_25_dollars() {
        let price = Price::parse(0.000_018_667_86).unwrap();
        let amount = price.of(Size::from_milli(500), 31 * 86_400_000);
        assert_eq!((amount.replica_size_seconds(), amount.cents()), (1_339_200, 2500));
        let by_minutes =
            (0..31 * 1440).fold(Amount::default(), |sum, _| sum.plus(price.of(Size::from_milli(500), 60_000)));
        assert_eq!((by_minutes.used, by_minutes.cents()), (amount.used, 2500), "pieces make the whole");
        assert_eq!(Price::default().of(Size::from_milli(500), 1000).cost, 0);
        assert!(Price::parse(-1.0).is_err() && Price::parse(f64::NAN).is_err());
    }
}
