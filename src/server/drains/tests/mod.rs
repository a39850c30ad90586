//! Drains over the real log and the real store, to real listeners.

mod receiver;

use std::time::Instant;

use self::receiver::{Identity, Receiver};
use super::*;
use crate::server::domain::{AppName, LogLine, LogSource, ProcessType, Stack};
use crate::server::logs::{LogFilter, LogLimits};
use crate::server::store::testing;

struct World {
    store: Store,
    logs: Logs,
    sealer: Arc<Sealer>,
    tls: ClientConfig,
    app: App,
    drains: Drains,
    private: bool,
    folder: tempfile::TempDir,
}

fn settings(private: bool) -> Settings {
    let milliseconds = Duration::from_millis;
    let pace = Pace {
        first: milliseconds(20),
        longest: milliseconds(200),
        write_down: milliseconds(20),
        tell: Duration::ZERO,
    };
    Settings { per_app: 2, private, pace }
}

impl World {
    async fn new(tls: ClientConfig, private: bool) -> Self {
        let (store, folder) = testing::open().await;
        let owner = testing::user(&store, "ada@example.com").await;
        let app =
            store.create_app(owner, AppName::parse("hill").unwrap(), Stack::local(), |_| Vec::new()).await.unwrap();
        let logs = Logs::open(&folder.path().join("logs"), LogLimits::default()).unwrap();
        let sealer = Arc::new(Sealer::open(&folder.path().join("key")).unwrap());
        let parts = (tls.clone(), store.clone(), sealer.clone(), logs.clone());
        let drains = Drains::trusting(parts.0, parts.1, parts.2, parts.3, settings(private)).await.unwrap();
        Self { store, logs, sealer, tls, app, drains, private, folder }
    }

    async fn plain() -> Self {
        Self::new(Identity::new().trusting, true).await
    }

    /// The next server.
    async fn start_again(&mut self) {
        let (tls, store, sealer, logs) = (self.tls.clone(), self.store.clone(), self.sealer.clone(), self.logs.clone());
        self.drains = Drains::trusting(tls, store, sealer, logs, settings(self.private)).await.unwrap();
    }

    async fn add(&self, url: &str) -> Drain {
        self.drains.add(&self.app, url, "ada@example.com".into()).await.unwrap()
    }

    fn say(&self, text: impl Into<String>) {
        let source = LogSource::Instance { name: "hill-web-1-bcdfg".into(), process: ProcessType::web(), index: 1 };
        self.logs.append(&self.app.name, LogLine { at: Timestamp::now(), source, text: text.into() });
    }

    async fn shown(&self) -> Drain {
        self.drains.list(self.app.id).await.unwrap().remove(0)
    }

    /// Waits until the one drain is as wished.
    async fn becomes(&self, what: &str, wished: impl Fn(&Drain) -> bool) -> Drain {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let drain = self.shown().await;
            if wished(&drain) {
                return drain;
            }
            assert!(Instant::now() < end, "not {what}: {drain:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn log(&self) -> String {
        let lines = self.logs.tail(&self.app.name, 10_000, LogFilter::all()).await;
        lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
async fn https_gets_logplex_frames_with_their_headers() {
    let identity = Identity::new();
    let world = World::new(identity.trusting.clone(), true).await;
    let receiver = Receiver::http(Some(&identity)).await;
    world.say("before");
    let url = format!("https://me:hush@localhost:{}/in?k=1", receiver.address.port());
    let drain = world.add(&url).await;
    world.say("one");
    world.logs.platform(&world.app.name, "Deployed v1");
    receiver.hears("Deployed v1").await;
    let requests = receiver.requests();
    let head = &requests[0].head;
    assert!(head.starts_with("post /in?k=1 http/1.1\r\n"), "{head}");
    for line in [
        "content-type: application/logplex-1",
        "authorization: basic bwu6ahvzaa==",
        &format!("logplex-drain-token: {}", drain.token),
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    let counted = |head: &str| -> usize {
        head.lines().find_map(|line| line.strip_prefix("logplex-msg-count: ")).unwrap().parse().unwrap()
    };
    for request in &requests {
        assert_eq!(request.body.lines().count(), counted(&request.head), "{request:?}");
    }
    let messages = receiver.messages();
    assert!(messages.iter().all(|message| !message.contains("before")), "only from then on: {messages:?}");
    let one = messages.iter().find(|message| message.ends_with(" hill-web-1-bcdfg hill web.1 - one")).unwrap();
    let (length, frame) = one.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), frame.len() + 1, "the line end is counted: {one}");
    let drain = world.becomes("counted", |drain| drain.delivered >= 2).await;
    assert_eq!((drain.dropped, drain.last_error), (0, None));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_refused_is_counted() {
    let world = World::plain().await;
    let receiver = Receiver::http(None).await;
    receiver.answer(&[500, 429, 302]);
    world.add(&format!("http://{}/", receiver.address)).await;
    world.say("precious");
    let drain = world.becomes("taken", |drain| drain.delivered >= 1).await;
    assert!(drain.last_error.is_some_and(|(text, _)| text.starts_with("it answered")));
    let tries: Vec<_> = receiver.requests().into_iter().filter(|request| request.body.contains("precious")).collect();
    assert!(tries.len() >= 4, "{tries:?}");
    let id = |head: &str| head.lines().find(|line| line.starts_with("logplex-frame-id: ")).unwrap().to_owned();
    assert_eq!(id(&tries[0].head), id(&tries[3].head), "the same frames under the same id");
    receiver.hears("takes lines again").await;

    receiver.answer(&[413]);
    world.say("poison");
    world.becomes("counted", |drain| drain.dropped >= 1).await;
    world.say("after");
    receiver.hears("after").await;
    let poison = receiver.requests().into_iter().filter(|request| request.body.contains("poison")).count();
    assert_eq!(poison, 1, "not again");
    assert!(world.log().await.contains("413"), "{}", world.log().await);
}

#[tokio::test]
async fn syslog_over_tls_connects_again_when_it_was_cut_off() {
    let identity = Identity::new();
    let world = World::new(identity.trusting.clone(), true).await;
    let receiver = Receiver::syslog(Some(&identity)).await;
    world.add(&format!("syslog+tls://localhost:{}", receiver.address.port())).await;
    for round in 0..5 {
        world.say(format!("round {round}"));
        receiver.hears(&format!("round {round}")).await;
        receiver.hang_up().await;
    }
    let rounds: Vec<_> = receiver.frames().into_iter().filter(|frame| frame.contains("round")).collect();
    assert_eq!(rounds.len(), 5, "{rounds:?}");
    assert!(rounds[0].starts_with("<190>1 20") && rounds[0].ends_with("hill-web-1-bcdfg hill web.1 - - round 0"));
    assert_eq!(world.shown().await.dropped, 0);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_nothing() {
    let world = World::plain().await;
    let stranger = Identity::new();
    let (syslog, http) = (Receiver::syslog(Some(&stranger)).await, Receiver::http(Some(&stranger)).await);
    world.add(&format!("syslog+tls://localhost:{}", syslog.address.port())).await;
    world.add(&format!("https://localhost:{}", http.address.port())).await;
    world.say("secret");
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let drains = world.drains.list(world.app.id).await.unwrap();
        if drains.iter().all(|drain| drain.last_error.is_some()) {
            for drain in drains {
                let (text, _) = drain.last_error.unwrap();
                assert!(text.to_lowercase().contains("certificate"), "{text}");
                assert_eq!(drain.delivered, 0);
            }
            break;
        }
        assert!(Instant::now() < end, "{drains:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(syslog.messages().is_empty() && http.messages().is_empty());
}

#[tokio::test]
async fn a_slow_drain_loses_lines_counts_them_and_slows_nobody() {
    let world = World::plain().await;
    let (receiver, listen) = Receiver::deaf().await;
    world.add(&format!("syslog://{}", receiver.address)).await;
    let text = "x".repeat(1000);
    let mut slowest = Duration::ZERO;
    const LINES: usize = 20_000;
    for n in 0..LINES {
        let begun = Instant::now();
        world.say(format!("line {n} {text}"));
        slowest = slowest.max(begun.elapsed());
        if n % 100 == 0 {
            // The log itself must keep up, for it is not what is tested.
            world.logs.flush().await;
        }
    }
    assert!(slowest < Duration::from_secs(5), "an app waited {slowest:?}");
    listen.cancel();
    world.say("the end");
    receiver.hears("the end").await;
    receiver.hears("Error L10 (output buffer overflow)").await;
    let drain = world.becomes("settled", |drain| drain.delivered + drain.dropped >= LINES as u64).await;
    let heard = receiver.frames().iter().filter(|frame| frame.contains("- - line ")).count();
    assert!(drain.dropped > 0, "{drain:?}");
    // Of what the platform said of it meanwhile some may have been dropped too.
    let counted = heard as u64 + drain.dropped;
    assert!((LINES as u64..LINES as u64 + 20).contains(&counted), "every line was sent or counted: {heard} {drain:?}");
    let told: u64 = receiver
        .frames()
        .iter()
        .filter_map(|frame| frame.split_once("overflow): ")?.1.split_once(" messages dropped")?.0.parse::<u64>().ok())
        .sum();
    assert_eq!(told, drain.dropped, "and the other side was told how many");
    assert!(world.log().await.contains("lines were not sent to the slow drain"));
}

#[tokio::test]
async fn the_next_server_goes_on_where_the_last_one_was() {
    let mut world = World::plain().await;
    let receiver = Receiver::syslog(None).await;
    world.add(&format!("syslog://{}", receiver.address)).await;
    world.say("first");
    receiver.hears("first").await;
    world.becomes("taken", |drain| drain.delivered >= 1).await;
    world.drains.close().await;
    for n in 0..3000 {
        world.say(format!("meanwhile {n} {}", "y".repeat(500)));
    }
    world.logs.flush().await;
    world.start_again().await;
    world.say("afterwards");
    receiver.hears("afterwards").await;
    let heard: Vec<_> = receiver.frames();
    let numbers: Vec<usize> =
        heard.iter().filter_map(|frame| frame.split_once("meanwhile ")?.1.split(' ').next()?.parse().ok()).collect();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(heard.iter().filter(|frame| frame.contains("first")).count(), 1);
    let drain = world.shown().await;
    assert!(drain.delivered >= 3002 && drain.dropped == 0, "counted on: {drain:?}");
}

#[tokio::test]
async fn what_was_not_taken_when_the_server_was_killed_is_sent_by_the_next() {
    let mut world = World::plain().await;
    let receiver = Receiver::http(None).await;
    receiver.answer(&[503; 10_000]);
    world.add(&format!("http://{}", receiver.address)).await;
    world.say("not taken");
    world.becomes("failing", |drain| drain.last_error.is_some()).await;
    // Nothing of what the killed one did in its last moments reaches the database.
    world.drains.0.stop.cancel();
    let better = Receiver::http(None).await;
    let sealed = {
        let stored = world.store.drains_of(world.app.id).await.unwrap().remove(0);
        assert_eq!(world.drains.open(&stored).unwrap().to_string(), format!("http://{}", receiver.address));
        stored
    };
    world.drains.close().await;
    world.drains.remove(&world.app, sealed.id, "ada@example.com".into()).await.unwrap();
    let at = sealed.position;
    let token = "d.again".to_owned();
    let url = world.sealer.seal(&context(&token), format!("http://{}", better.address).as_bytes());
    world.store.add_drain(world.app.id, token, url, at, (9, String::new(), String::new())).await.unwrap();
    world.start_again().await;
    better.hears("not taken").await;
}

#[tokio::test]
async fn a_drain_ends_when_it_is_removed_or_its_app_is() {
    let world = World::plain().await;
    let (one, two) = (Receiver::syslog(None).await, Receiver::syslog(None).await);
    let first = world.add(&format!("syslog://{}", one.address)).await;
    world.add(&format!("syslog://{}", two.address)).await;
    let full = world.drains.add(&world.app, "syslog://127.0.0.1:9", String::new()).await.unwrap_err();
    assert!(matches!(full, DrainError::Store(StoreError::Full)));
    world.say("both");
    one.hears("both").await;
    two.hears("both").await;
    world.drains.remove(&world.app, first.id, "ada@example.com".into()).await.unwrap();
    let again = world.drains.remove(&world.app, first.id, "ada@example.com".into()).await.unwrap_err();
    assert!(matches!(again, DrainError::Store(StoreError::NotFound)));
    world.say("two only");
    two.hears("two only").await;
    assert!(one.messages().iter().all(|message| !message.contains("two only")));
    let summaries: Vec<_> = world.store.activity(world.app.id).await.unwrap().into_iter().map(|a| a.summary).collect();
    assert!(summaries.iter().any(|text| text.starts_with("Remove the log drain syslog://")), "{summaries:?}");

    world.store.delete_app(world.app.id).await.unwrap();
    world.drains.forget(world.app.id);
    world.logs.remove(&world.app.name).await;
    world.drains.0.tasks.close();
    tokio::time::timeout(Duration::from_secs(60), world.drains.0.tasks.wait()).await.expect("no worker is left");
}

#[tokio::test]
async fn nobody_is_made_to_talk_to_this_machine_and_no_password_is_readable() {
    let mut world = World::new(Identity::new().trusting, false).await;
    let receiver = Receiver::http(None).await;
    let local = format!("http://{}/", receiver.address);
    for url in [&local, "http://localhost:1/", "syslog://169.254.169.254", "syslog+tls://[::1]:6514", "http://10.0.0.1"]
    {
        let refused = world.drains.add(&world.app, url, String::new()).await.unwrap_err();
        assert!(refused.to_string().contains("limits.private_drains"), "{url}: {refused}");
    }
    // Allowed once, and then no more: it does not even connect.
    world.private = true;
    world.start_again().await;
    world.add(&format!("http://me:tell-nobody@{}/tell-nobody", receiver.address)).await;
    world.drains.close().await;
    world.private = false;
    world.start_again().await;
    world.say("inside");
    world.becomes("refused", |drain| drain.last_error.as_ref().is_some_and(|(text, _)| text.contains("private"))).await;
    assert!(receiver.messages().is_empty());

    world.drains.close().await;
    for name in ["gigalixir.db", "gigalixir.db-wal"] {
        let bytes = std::fs::read(world.folder.path().join(name)).unwrap_or_default();
        assert!(!bytes.windows(11).any(|window| window == b"tell-nobody"), "{name}");
    }
    assert!(!world.log().await.contains("tell-nobody"));
}
