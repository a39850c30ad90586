//! `GET /metrics`: what passes to the apps, in Prometheus' text format (version 0.0.4). Whoever signs in sees their own
//! apps; the operator's `router.metrics_key`, with an empty name, shows all, and requests that no app was asked for.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;

use super::Doors;
use super::answer::Text;
use super::auth::basic;
use super::error::HttpError;
use super::routes::{KEY, Part, Routes, Sheet};
use crate::server::actions::account::{Accounts, Credentials};
use crate::server::actions::apps::Apps;
use crate::server::router::{BOUNDS, Counts, Traffic};

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/metrics", read, "tells what passes to your apps, for Prometheus")
}

/// What a collector presents; not yet looked at.
struct Collector(Vec<Credentials>);

impl<S: Send + Sync> FromRequestParts<S> for Collector {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(basic(&parts.headers)))
    }
}

impl Part for Collector {
    fn describe(sheet: &mut Sheet) {
        sheet.needs(KEY);
    }
}

async fn read(
    State(accounts): State<Arc<Accounts>>,
    State(apps): State<Arc<Apps>>,
    State(traffic): State<Traffic>,
    Collector(tried): Collector,
) -> Result<Text, HttpError> {
    let mut counts = traffic.counts();
    if !apps.sees_all_traffic(&tried) {
        let (user, _) = accounts.authenticate(&tried).await?;
        let names: BTreeSet<String> = apps.names(&user).await?;
        counts.retain(|one| one.app.as_ref().is_some_and(|app| names.contains(app.as_str())));
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok(Text((kind, exposition(&counts)).into_response()))
}

/// The whole text.
fn exposition(counts: &[Counts]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &dyn Fn(&Counts, &str, &mut String)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP gigalixir_http_{name} {help}\n# TYPE gigalixir_http_{name} {kind}");
        for one in counts {
            // A name has nothing in it that would have to be escaped.
            samples(one, one.app.as_ref().map_or("", |app| app.as_str()), &mut text);
        }
    };
    let mut plain = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Counts) -> u64| {
        family(name, kind, help, &|one, app, text| {
            let _ = writeln!(text, "gigalixir_http_{name}{{app=\"{app}\"}} {}", value(one));
        });
    };
    plain("open_connections", "gauge", "Requests and upgraded connections under way.", &|one| one.open as u64);
    plain("received_bytes_total", "counter", "Bytes of bodies from visitors.", &|one| one.received);
    plain("sent_bytes_total", "counter", "Bytes of bodies to visitors.", &|one| one.sent);
    plain("retries_total", "counter", "Requests that were tried on a second connection.", &|one| one.retries);
    family("requests_total", "counter", "Answered requests, by the class of their status.", &|one, app, text| {
        for (class, count) in (1..).zip(one.classes) {
            let _ = writeln!(text, "gigalixir_http_requests_total{{app=\"{app}\",class=\"{class}xx\"}} {count}");
        }
    });
    let help = "From a request's head to its answer's last byte; upgraded connections are not among them.";
    family("request_duration_seconds", "histogram", help, &histogram);
    text
}

fn histogram(one: &Counts, app: &str, text: &mut String) {
    let name = "gigalixir_http_request_duration_seconds";
    let mut total = 0;
    let bounds = BOUNDS.iter().map(f64::to_string).chain([String::from("+Inf")]);
    for (bound, count) in bounds.zip(one.buckets) {
        total += count;
        let _ = writeln!(text, "{name}_bucket{{app=\"{app}\",le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(text, "{name}_sum{{app=\"{app}\"}} {}", one.seconds);
    let _ = writeln!(text, "{name}_count{{app=\"{app}\"}} {total}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::AppName;

    #[test]
    fn buckets_add_up() {
        let mut buckets = [0; BOUNDS.len() + 1];
        (buckets[0], buckets[2], buckets[BOUNDS.len()]) = (3, 2, 1);
        let counts = Counts {
            app: Some(AppName::parse("hill").unwrap()),
            open: 7,
            classes: [1, 2, 3, 4, 5],
            buckets,
            seconds: 12.5,
            received: 10,
            sent: 20,
            retries: 1,
        };
        let text = exposition(&[counts]);
        for line in [
            "# TYPE gigalixir_http_open_connections gauge",
            "gigalixir_http_open_connections{app=\"hill\"} 7",
            "gigalixir_http_received_bytes_total{app=\"hill\"} 10",
            "gigalixir_http_requests_total{app=\"hill\",class=\"5xx\"} 5",
            "# TYPE gigalixir_http_request_duration_seconds histogram",
            "gigalixir_http_request_duration_seconds_bucket{app=\"hill\",le=\"0.001\"} 3",
            "gigalixir_http_request_duration_seconds_bucket{app=\"hill\",le=\"0.005\"} 5",
            "gigalixir_http_request_duration_seconds_bucket{app=\"hill\",le=\"10\"} 5",
            "gigalixir_http_request_duration_seconds_bucket{app=\"hill\",le=\"+Inf\"} 6",
            "gigalixir_http_request_duration_seconds_sum{app=\"hill\"} 12.5",
            "gigalixir_http_request_duration_seconds_count{app=\"hill\"} 6",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
        }
    }
}
