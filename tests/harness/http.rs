//! Requests as a visitor makes them.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// `GET http://HOST/PATH`, sent to `address`. Status 0 when no answer came.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    request(reqwest::Method::GET, &format!("http://{address}{path}"), &[("host", host)], "")
}

/// `POST URL` without a body, signed in by a key.
pub fn post(url: &str, email: &str, key: &str) -> Answer {
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{email}:{key}"));
    request(reqwest::Method::POST, url, &[("authorization", &format!("Basic {basic}"))], "")
}

/// Any request; a connection that fails is an [`Answer`] with status 0 and the reason as its body.
fn request(method: reqwest::Method, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    // The provider is process-wide; a second install is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("client");
        let mut request = client.request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.text().await {
                    Ok(body) => Answer { status, body },
                    Err(e) => Answer { status: 0, body: format!("{e:#}") },
                }
            }
            Err(e) => Answer { status: 0, body: format!("{e:#}") },
        }
    })
}
