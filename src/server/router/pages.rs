//! What a visitor reads when the app cannot answer: HTML for browsers, a line for terminals, JSON when asked for.
//!
//! A page names nothing but the request: no app, no backend, no address; hints for the owner say what to type.
//! `nothing deployed` is 503, not 404: the host is right and the condition ends, so caches and crawlers shall come back.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "web/errors"]
struct Files;

/// Why a request is not answered by an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// 400, and what is wrong with the request.
    BadRequest(&'static str),
    /// 421: the host is served on another connection.
    Misdirected,
    /// 404: no app has this host.
    NoSuchApp,
    /// 408: the visitor stopped in the middle of the request's body.
    TooSlow,
    /// 413: the app takes no body that large.
    TooLarge,
    /// 503: as many requests as its people allow are under way.
    Busy,
    /// 503: its people work on it.
    Maintenance,
    /// 503: it exists and was never deployed.
    NothingDeployed,
    /// 503: it is scaled to 0.
    ScaledToZero,
    /// 503: none of its replicas is ready.
    Failing,
    /// 502: no replica accepted a connection.
    Unreachable,
    /// 502: a replica closed the connection instead of answering, or answered nonsense.
    NoAnswer,
    /// 504: a replica took too long.
    TimedOut,
}

struct Text {
    status: StatusCode,
    /// For programs.
    code: &'static str,
    title: &'static str,
    message: &'static str,
    /// For the app's owner; code in backticks.
    hint: &'static str,
}

impl Page {
    fn text(self) -> Text {
        let (status, code, title, message, hint) = match self {
            Self::BadRequest(why) => (400, "bad_request", "Bad request", why, ""),
            Self::Misdirected => {
                (421, "misdirected", "Wrong connection", "This address is served on another connection.", "")
            }
            Self::NoSuchApp => (
                404,
                "no_such_app",
                "No such app",
                "There is no app at this address.",
                "Is it yours? `gigalixir apps` lists all your apps.",
            ),
            Self::TooSlow => (408, "too_slow", "Too slow", "The request's body did not arrive in time.", ""),
            Self::TooLarge => (
                413,
                "too_large",
                "Too large",
                "This app does not take that much at once.",
                "Is it yours? Allow more with `gigalixir router:set --max-body=…`.",
            ),
            Self::Busy => (
                503,
                "busy",
                "Too many visitors",
                "This app has as many visitors as it can serve. Please try again shortly.",
                "Is it yours? Allow more with `gigalixir router:set --max-connections=…`.",
            ),
            Self::Maintenance => (
                503,
                "maintenance",
                "Under maintenance",
                "This app is being worked on. Please come back a little later.",
                "Is it yours? Open it again with `gigalixir maintenance:off`.",
            ),
            Self::NothingDeployed => (
                503,
                "nothing_deployed",
                "Nothing here yet",
                "This app exists, but nothing has been deployed to it.",
                "Is it yours? Deploy it with `git push gigalixir main`.",
            ),
            Self::ScaledToZero => (
                503,
                "scaled_to_zero",
                "Switched off",
                "This app is scaled to 0 replicas.",
                "Is it yours? Switch it on with `gigalixir ps:scale --replicas=1`.",
            ),
            Self::Failing => (
                503,
                "failing",
                "Not available",
                "This app is not healthy at the moment. Please try again shortly.",
                "Is it yours? See what happened with `gigalixir ps` and `gigalixir logs`.",
            ),
            Self::Unreachable => (
                502,
                "unreachable",
                "Not reachable",
                "This app does not accept connections at the moment. Please try again shortly.",
                "Is it yours? See what happened with `gigalixir ps` and `gigalixir logs`.",
            ),
            Self::NoAnswer => (
                502,
                "no_answer",
                "No answer",
                "This app ended the connection without a proper answer.",
                "Is it yours? See what happened with `gigalixir logs`.",
            ),
            Self::TimedOut => (
                504,
                "timed_out",
                "Too slow",
                "This app took too long to answer.",
                "Is it yours? See what it was doing with `gigalixir logs`.",
            ),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        Text { status, code, title, message, hint }
    }

    /// The answer. `id` is shown, so that a visitor can tell the owner.
    pub(super) fn render(self, format: Format, id: &HeaderValue) -> Response<Bytes> {
        let text = self.text();
        let id = id.to_str().unwrap_or_default();
        let (kind, body) = match format {
            Format::Html => ("text/html; charset=utf-8", html(&text, id)),
            Format::Plain => ("text/plain; charset=utf-8", plain(&text, id)),
            Format::Json => ("application/json", json(&text, id)),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = text.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        if matches!(self, Self::BadRequest(_) | Self::TooSlow) {
            // What comes after a request we did not understand is not to be understood either.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if text.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

/// An app's own page for the time of its maintenance.
pub(super) fn own(html: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(html.as_bytes()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

fn html(text: &Text, id: &str) -> String {
    let Some(file) = Files::get("page.html") else { return plain(text, id) };
    let status = text.status.as_str();
    let hint = if text.hint.is_empty() { String::new() } else { format!("<p class=\"hint\">{}</p>", code(text.hint)) };
    // Every value is ours or, the id, of a harmless alphabet.
    String::from_utf8_lossy(&file.data)
        .replace("{{status}}", status)
        .replace("{{title}}", text.title)
        .replace("{{message}}", text.message)
        .replace("{{hint}}", &hint)
        .replace("{{request_id}}", id)
}

/// Text between backticks becomes `<code>`.
fn code(text: &str) -> String {
    let marked = text.split('`').enumerate();
    marked.map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

fn plain(text: &Text, id: &str) -> String {
    let Text { status, title, message, hint, .. } = text;
    let hint = if hint.is_empty() { String::new() } else { format!("{}\n", hint.replace('`', "")) };
    format!("{} {title}: {message}\n{hint}Request id: {id}\n", status.as_u16())
}

fn json(text: &Text, id: &str) -> String {
    let hint = text.hint.replace('`', "");
    let body = serde_json::json!({
        "error": { "status": text.status.as_u16(), "code": text.code, "message": text.message, "hint": hint },
        "request_id": id,
    });
    format!("{body}\n")
}

/// In what form a visitor wants to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Plain,
    Json,
}

impl Format {
    /// The first of the three that `Accept` names; plain text when it names none.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        let format = |range: &str| match range.split(';').next().unwrap_or_default().trim() {
            "text/html" | "application/xhtml+xml" => Some(Self::Html),
            "application/json" => Some(Self::Json),
            kind if kind.ends_with("+json") => Some(Self::Json),
            "text/plain" => Some(Self::Plain),
            _ => None,
        };
        ranges.filter_map(format).next().unwrap_or(Self::Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Page; 13] = [
        Page::BadRequest("Why."),
        Page::Misdirected,
        Page::NoSuchApp,
        Page::TooSlow,
        Page::TooLarge,
        Page::Busy,
        Page::Maintenance,
        Page::NothingDeployed,
        Page::ScaledToZero,
        Page::Failing,
        Page::Unreachable,
        Page::NoAnswer,
        Page::TimedOut,
    ];

    fn wanted(accept: &'static str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Format::wanted(&headers)
    }

    #[test]
    fn visitors_get_what_they_read() {
        assert_eq!(wanted("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Format::Html);
        assert_eq!(wanted("*/*"), Format::Plain);
        assert_eq!(wanted("application/json, text/plain"), Format::Json);
        assert_eq!(wanted("application/problem+json"), Format::Json);
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::Plain);
    }

    #[test]
    fn every_page_is_complete_in_every_form() {
        for page in ALL {
            let id = HeaderValue::from_static("id-42");
            for format in [Format::Html, Format::Plain, Format::Json] {
                let response = page.render(format, &id);
                assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
                let body = String::from_utf8(response.into_body().to_vec()).unwrap();
                assert!(body.contains("id-42") && body.contains(page.text().message), "{body}");
                assert!(!body.contains("{{") && !body.contains('`'), "{body}");
                match format {
                    Format::Html => assert!(body.starts_with("<!doctype html>") && !body.contains("<script")),
                    Format::Plain => assert!(body.lines().count() <= 3, "{body}"),
                    Format::Json => {
                        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
                        assert_eq!(value["error"]["status"], page.text().status.as_u16());
                    }
                }
            }
        }
    }
}
