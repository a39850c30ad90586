//! `app.json`, as far as it is of use here: its `cron`, a list of `{"command": …, "schedule": …}` as Heroku and Dokku know
//! it, with our `name`, `tz`, `overlap` and `catch_up`. Pure. Whether a pattern makes sense is not known here.

use serde::Deserialize;

use crate::server::domain::{JobCommand, Overlap, SchedulePlan};

/// Its name in the pushed tree.
pub(super) const FILE: &str = "app.json";
/// Bytes that it may have.
pub(super) const MAX_BYTES: u64 = 256 * 1024;
/// Schedules that it may name.
const MOST: usize = 50;

#[derive(Deserialize)]
struct AppJson {
    #[serde(default)]
    cron: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    command: String,
    schedule: String,
    name: Option<String>,
    tz: Option<String>,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default)]
    catch_up: bool,
}

/// The schedules, named `app.json/NAME`, or by their place where they have no name. The error is for the pusher.
pub(super) fn schedules(text: &str) -> Result<Vec<SchedulePlan>, String> {
    let app: AppJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if app.cron.len() > MOST {
        return Err(format!("`cron` has {} entries; at most {MOST} are scheduled", app.cron.len()));
    }
    let mut plans: Vec<SchedulePlan> = Vec::new();
    for (index, entry) in app.cron.into_iter().enumerate() {
        let place = |problem: String| format!("`cron`, entry {}: {problem}", index + 1);
        let name = entry.name.unwrap_or_else(|| (index + 1).to_string());
        SchedulePlan::check_name(&name).map_err(|invalid| place(invalid.to_string()))?;
        let name = format!("{FILE}/{name}");
        if plans.iter().any(|plan| plan.name == name) {
            return Err(place(format!("another one is called `{name}` too")));
        }
        let command = JobCommand::line(&entry.command).map_err(|invalid| place(invalid.to_string()))?;
        let tz = entry.tz.unwrap_or_else(|| "UTC".to_owned());
        let Entry { schedule, overlap, catch_up, .. } = Entry { command: String::new(), name: None, tz: None, ..entry };
        plans.push(SchedulePlan { name, cron: schedule, tz, command, overlap, catch_up });
    }
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_entries_become_schedules() {
        let text = r#"{"name": "shop", "cron": [
            {"command": "mix report", "schedule": "0 3 * * *"},
            {"command": "bin/x eval 'A.b()'", "schedule": "@daily", "name": "clean", "tz": "Europe/Rome",
             "overlap": "allow", "catch_up": true}]}"#;
        let plans = schedules(text).unwrap();
        let names: Vec<_> = plans.iter().map(|plan| (plan.name.as_str(), plan.tz.as_str(), plan.catch_up)).collect();
        assert_eq!(names, [("app.json/1", "UTC", false), ("app.json/clean", "Europe/Rome", true)]);
        assert_eq!(plans[1].command, JobCommand::Line("bin/x eval 'A.b()'".to_owned()));
        assert_eq!(plans[1].overlap, Overlap::Allow);
        assert_eq!(schedules("{}"), Ok(Vec::new()));
        assert_eq!(schedules(r#"{"addons": ["x"]}"#), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, wanted) in [
            ("{", "EOF"),
            (r#"{"cron": [{"schedule": "* * * * *"}]}"#, "command"),
            (r#"{"cron": [{"command": " ", "schedule": "* * * * *"}]}"#, "entry 1"),
            (r#"{"cron": [{"command": "a", "schedule": "x", "name": "A b"}]}"#, "entry 1"),
            (
                r#"{"cron": [{"command": "a", "schedule": "x", "name": "2"}, {"command": "a", "schedule": "x"}]}"#,
                "entry 2",
            ),
            (r#"{"cron": [{"command": "a", "schedule": "x", "overlap": "never"}]}"#, "never"),
        ] {
            let told = schedules(text).unwrap_err();
            assert!(told.contains(wanted), "{text}: {told}");
        }
    }
}
