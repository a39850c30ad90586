//! When an instance counts as ready. Asked from outside, the way a visitor would come.
//!
//! The first question comes at once and then in growing steps, so that a quick app is found ready within milliseconds
//! and a slow one costs next to nothing. Readiness is found once per run: a ready instance that stops answering keeps
//! its place (the router tries another replica, and a process that ends is seen as its end), so that no load peak
//! empties the routing table.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::super::domain::HealthCheck;

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// For a connection to be accepted.
const CONNECT: Duration = Duration::from_secs(1);
/// For an answer's first line; an app may compile a page on its first request.
const ANSWER: Duration = Duration::from_secs(10);

/// Returns when the instance is ready, with the address at which it was found; never, if it does not become ready.
/// `addresses` are tried in order. `up_for` says how long it has run already.
pub async fn ready(check: &HealthCheck, addresses: &[SocketAddr], up_for: Duration) -> Option<SocketAddr> {
    if let HealthCheck::Uptime(enough) = check {
        sleep(enough.saturating_sub(up_for)).await;
        return None;
    }
    let mut pause = FIRST_PAUSE;
    loop {
        for address in addresses {
            if passes(check, *address).await {
                return Some(*address);
            }
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

async fn passes(check: &HealthCheck, address: SocketAddr) -> bool {
    let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await else { return false };
    // A port of the ephemeral range can connect to itself while nobody listens.
    if stream.local_addr().ok() == Some(address) {
        return false;
    }
    match check {
        HealthCheck::Http(path) => {
            timeout(ANSWER, status(stream, path)).await.ok().flatten().is_some_and(|code| (200..400).contains(&code))
        }
        HealthCheck::Tcp | HealthCheck::Uptime(_) => true,
    }
}

/// The status of `GET path`. Only the first line matters, so no HTTP client is needed.
async fn status(mut stream: TcpStream, path: &str) -> Option<u16> {
    let path: String = path.chars().filter(|c| !c.is_control() && *c != ' ').collect();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let request = format!(
        "GET {slash}{path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: gigalixir-health\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(1024)).read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    words.next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answers(reply: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 512];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn http_wants_200_to_399() {
        let check = HealthCheck::Http("/up".to_owned());
        for (reply, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\n\r\n", true),
            ("HTTP/1.1 404 Not Found\r\n\r\n", false),
            ("HTTP/1.1 503 x\r\n\r\n", false),
            ("SSH-2.0-x 200\r\n", false),
            ("", false),
        ] {
            assert_eq!(passes(&check, answers(reply).await).await, expected, "{reply:?}");
        }
    }

    #[tokio::test]
    async fn tcp_waits_for_the_port_and_takes_the_first_address_that_answers() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let late = tokio::spawn(async move {
            sleep(Duration::from_millis(30)).await;
            let listener = TcpListener::bind(free).await.unwrap();
            let _ = listener.accept().await;
        });
        let nobody = SocketAddr::new("127.64.1.1".parse().unwrap(), free.port());
        let found = timeout(Duration::from_secs(5), ready(&HealthCheck::Tcp, &[nobody, free], Duration::ZERO)).await;
        assert_eq!(found, Ok(Some(free)));
        late.await.unwrap();
    }

    #[tokio::test]
    async fn uptime_counts_what_has_passed() {
        let check = HealthCheck::Uptime(Duration::from_secs(60));
        let asked = timeout(Duration::from_secs(1), ready(&check, &[], Duration::from_secs(61))).await;
        assert_eq!(asked, Ok(None));
    }
}
