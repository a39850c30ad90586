//! What a person's apps use: now, in the present period, in past ones. Counted by the meter up to its last checkpoint and
//! here from there to now, so an answer is never a minute old. Whoever owns an app has its use, also when it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::usage::{AppUsage, DayUsage, Invoice, RunRate};
use crate::server::domain::{Amount, Period, User, UserId};
use crate::server::metering::count;
use crate::server::store::{Meter, StoreError, Used};

impl Apps {
    /// What each app has used in the present period, by name.
    pub async fn usage(&self, user: &User) -> Result<Vec<AppUsage>, ActionError> {
        let period = self.period(user);
        let mut apps: BTreeMap<String, Amount> = BTreeMap::new();
        for used in self.used(user.id, period.day_numbers()).await? {
            add(apps.entry(used.app_name).or_default(), used.amount);
        }
        let shown = |(app, amount): (String, Amount)| AppUsage {
            app,
            replica_size_seconds: amount.replica_size_seconds(),
            amount_cents: amount.cents(),
            currency: self.settings.billing.currency.clone(),
            period_start: midnight(period.start),
            period_end: midnight(period.end),
        };
        Ok(apps.into_iter().map(shown).collect())
    }

    /// What each app that runs would use in a whole period, by name.
    pub async fn run_rate(&self, user: &User) -> Result<Vec<RunRate>, ActionError> {
        let length = self.period(user).milliseconds();
        let mut apps: BTreeMap<String, Vec<Meter>> = BTreeMap::new();
        for meter in self.rooms.store.usage(user.id, 0, 0).await?.1 {
            apps.entry(meter.app_name.to_string()).or_default().push(meter);
        }
        let shown = |(app, meters): (String, Vec<Meter>)| {
            let amounts = meters.iter().map(|meter| self.settings.billing.price.of(meter.size, length));
            let amount = amounts.fold(Amount::default(), Amount::plus);
            RunRate {
                app,
                replicas: meters.len() as u32,
                size: f64::from(meters.iter().map(|meter| meter.size.milli()).sum::<u32>()) / 1000.0,
                replica_size_seconds: amount.replica_size_seconds(),
                amount_cents: amount.cents(),
                currency: self.settings.billing.currency.clone(),
            }
        };
        Ok(apps.into_iter().map(shown).collect())
    }

    /// What each app used in each period that is over, newest first.
    pub async fn invoices(&self, user: &User) -> Result<Vec<Invoice>, ActionError> {
        let (signup, now) = (date(user.created_at), self.period(user));
        let mut past: BTreeMap<(Period, String), Amount> = BTreeMap::new();
        for used in self.used(user.id, 0..now.day_numbers().start).await? {
            let period = Period::containing(signup, of_number(used.day));
            add(past.entry((period, used.app_name)).or_default(), used.amount);
        }
        let shown = |((period, app_name), amount): ((Period, String), Amount)| Invoice {
            app_name,
            replica_size_seconds: amount.replica_size_seconds(),
            amount_cents: amount.cents(),
            currency: self.settings.billing.currency.clone(),
            paid: amount.cents() == 0,
            period_start: midnight(period.start),
            period_end: midnight(period.end),
        };
        let mut invoices: Vec<_> = past.into_iter().map(shown).collect();
        invoices.sort_by(|a, b| (&b.period_start, &a.app_name).cmp(&(&a.period_start, &b.app_name)));
        Ok(invoices)
    }

    /// What the app used on each day of its owner's present and last period, newest first.
    pub async fn app_usage(&self, user: &User, name: &str) -> Result<Vec<DayUsage>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let owner = self.rooms.store.user(app.owner).await?.ok_or(StoreError::NotFound)?;
        let now = self.period(&owner);
        let last = Period::containing(date(owner.created_at), now.start.yesterday().unwrap_or(now.start));
        let mut days: BTreeMap<i64, Amount> = BTreeMap::new();
        for used in self.used(owner.id, last.day_numbers().start..now.day_numbers().end).await? {
            if used.app == app.id {
                add(days.entry(used.day).or_default(), used.amount);
            }
        }
        let shown = |(day, amount): (i64, Amount)| DayUsage {
            day: of_number(day).to_string(),
            replica_size_seconds: amount.replica_size_seconds(),
            amount_cents: amount.cents(),
            currency: self.settings.billing.currency.clone(),
        };
        Ok(days.into_iter().rev().map(shown).collect())
    }

    /// What is written down, and what has come since.
    async fn used(&self, owner: UserId, days: std::ops::Range<i64>) -> Result<Vec<Used>, ActionError> {
        let (mut used, meters) = self.rooms.store.usage(owner, days.start, days.end).await?;
        let (now, wall) = (self.rooms.clock.moment(), self.rooms.clock.now());
        for meter in meters.into_iter().filter(|meter| meter.boot == *now.boot) {
            // The clock was read after the rows: a meter is never ahead but by a rounding.
            let until = now.elapsed.max(meter.since);
            let tail = count(meter.size, meter.since, until, wall, self.settings.billing.price);
            let tail = tail.into_iter().filter(|(day, _)| days.contains(day));
            let of = |(day, amount)| Used { day, app: meter.app, app_name: meter.app_name.to_string(), amount };
            used.extend(tail.map(of));
        }
        Ok(used)
    }

    fn period(&self, user: &User) -> Period {
        Period::containing(date(user.created_at), date(self.rooms.clock.now()))
    }
}

fn add(sum: &mut Amount, amount: Amount) {
    *sum = sum.plus(amount);
}

fn date(at: jiff::Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn of_number(day: i64) -> Date {
    let seconds = Duration::from_secs(86_400 * day.unsigned_abs());
    date(jiff::Timestamp::UNIX_EPOCH.saturating_add(seconds).unwrap_or(jiff::Timestamp::MAX))
}

fn midnight(date: Date) -> String {
    format!("{date}T00:00:00Z")
}
