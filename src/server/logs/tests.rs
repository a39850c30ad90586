use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};

use super::*;
use crate::server::domain::ProcessType;

fn app() -> AppName {
    AppName::parse("hill").unwrap()
}

fn web(text: impl Into<String>) -> LogLine {
    of("web", text)
}

fn of(process: &str, text: impl Into<String>) -> LogLine {
    let process = ProcessType::parse(process).unwrap();
    let source = LogSource::Instance { name: format!("hill-{process}-1-1"), process, index: 1 };
    LogLine { at: Timestamp::now(), source, text: text.into() }
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn open(temp: &tempfile::TempDir, app_bytes: u64) -> Logs {
    let limits = LogLimits { app_bytes, ..LogLimits::default() };
    Logs::open(&temp.path().join("logs"), limits).unwrap()
}

#[tokio::test]
async fn a_tail_has_what_was_appended_just_before_and_survives_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    for n in 0..500 {
        logs.append(&app(), web(format!("line {n}")));
    }
    logs.platform(&app(), "Deployed v1");
    assert_eq!(texts(&logs.tail(&app(), 3, LogFilter::all()).await), ["line 498", "line 499", "Deployed v1"]);
    drop(logs);
    let logs = open(&temp, 1_000_000);
    let all = logs.tail(&app(), usize::MAX, LogFilter::all()).await;
    assert_eq!(all.len(), 501);
    assert_eq!(all[0].text, "line 0");
    assert_eq!(all[0].source, web("").source);
}

#[tokio::test]
async fn filters_pick_a_process_or_an_instance() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    logs.append(&app(), web("from web"));
    logs.append(&app(), of("worker", "from worker"));
    logs.build(&app(), "compiling\nlinking");
    let worker = LogFilter::process(ProcessType::parse("worker").unwrap());
    assert_eq!(texts(&logs.tail(&app(), 10, worker).await), ["from worker"]);
    assert_eq!(texts(&logs.last_lines(&app(), "hill-web-1-1", 10).await), ["from web"]);
    let all = logs.tail(&app(), 10, LogFilter::all()).await;
    assert_eq!(texts(&all), ["from web", "from worker", "compiling", "linking"]);
    assert_eq!(all[3].source, LogSource::Build);
}

#[tokio::test]
async fn the_ring_stays_within_its_bound_and_keeps_the_newest() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 80_000);
    for n in 0..5_000 {
        logs.append(&app(), web(format!("{n} {}", "x".repeat(100))));
        if n % 100 == 0 {
            logs.flush().await;
        }
    }
    let all = logs.tail(&app(), usize::MAX, LogFilter::all()).await;
    let numbers: Vec<u32> = all.iter().map(|l| l.text.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(*numbers.last().unwrap(), 4_999);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no line in the middle is missing");
    let bytes: u64 =
        std::fs::read_dir(temp.path().join("logs/hill")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!((60_000..=80_000).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_line_torn_by_a_crash_is_cut_off() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    logs.append(&app(), web("whole"));
    drop(logs);
    let segment = temp.path().join("logs/hill/00000001.log");
    let mut content = std::fs::read(&segment).unwrap();
    content.extend(b"2026-01-01T00:00:00.000000+00:00 app[hill-we");
    std::fs::write(&segment, content).unwrap();
    let logs = open(&temp, 1_000_000);
    logs.append(&app(), web("after"));
    assert_eq!(texts(&logs.tail(&app(), 10, LogFilter::all()).await), ["whole", "after"]);
}

#[tokio::test]
async fn following_misses_nothing_and_doubles_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 10_000_000);
    let total = 20_000;
    let writer = {
        let logs = logs.clone();
        std::thread::spawn(move || {
            for n in 0..total {
                logs.append(&app(), web(n.to_string()));
                if n % 20 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        })
    };
    let mut followers = tokio::task::JoinSet::new();
    for start in 0..5 {
        let logs = logs.clone();
        followers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(start * 30)).await;
            let mut lines = std::pin::pin!(logs.follow(&app(), usize::MAX, LogFilter::all()));
            for n in 0..total {
                assert_eq!(lines.next().await.unwrap().text, n.to_string());
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(done) = followers.join_next().await {
            done.unwrap();
        }
    })
    .await
    .unwrap();
    writer.join().unwrap();
}

#[tokio::test]
async fn a_slow_reader_loses_lines_is_told_and_slows_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 50_000_000);
    let worker = LogFilter::process(ProcessType::web());
    let mut slow = std::pin::pin!(logs.follow(&app(), 0, worker));
    assert!(slow.next().now_or_never().is_none());
    tokio::time::timeout(Duration::from_secs(5), async {
        // The first line is what brings the reader on board.
        let first = tokio::join!(slow.next(), async {
            logs.flush().await;
            logs.append(&app(), web("first"));
        });
        assert_eq!(first.0.unwrap().text, "first");
    })
    .await
    .unwrap();
    let begun = Instant::now();
    for n in 0..30_000_u32 {
        logs.append(&app(), web(format!("{n} {}", "x".repeat(100))));
        if n % 1_000 == 999 {
            logs.flush().await;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "10,000 lines a second are nothing: {:?}", begun.elapsed());
    let notice = slow.next().await.unwrap().text;
    let skipped: u32 = notice.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(notice.contains("lines skipped"), "{notice}");
    for n in skipped..30_000 {
        assert!(slow.next().await.unwrap().text.starts_with(&format!("{n} ")));
    }
    assert_eq!(logs.tail(&app(), usize::MAX, LogFilter::all()).await.len(), 30_001);
}

#[test]
fn an_overrun_backlog_loses_its_oldest_and_counts_them() {
    let mut backlog = backlog::Backlog::new(1_000);
    for n in 0..100 {
        backlog.push(web(n.to_string()), None);
    }
    let batch = backlog.take();
    assert_eq!(batch.lost + batch.lines.len() as u64, 100);
    assert_eq!(batch.lines.back().unwrap().text, "99");
    assert!(batch.lines.len() < 10 && backlog.is_empty());
}

#[tokio::test]
async fn lines_lost_to_a_refusing_disk_are_counted() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    let folder = temp.path().join("logs/hill");
    std::fs::write(&folder, "in the way").unwrap();
    logs.append(&app(), web("lost"));
    logs.flush().await;
    std::fs::remove_file(&folder).unwrap();
    logs.append(&app(), web("kept"));
    let lines = logs.tail(&app(), 10, LogFilter::all()).await;
    assert!(lines[0].text.starts_with("… 1 lines lost"), "{}", lines[0].text);
    assert_eq!(lines[1].text, "kept");
}

#[tokio::test]
async fn removing_a_log_deletes_it_and_ends_its_readers() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    logs.append(&app(), web("old"));
    let mut reader = std::pin::pin!(logs.follow(&app(), 10, LogFilter::all()));
    assert_eq!(reader.next().await.unwrap().text, "old");
    logs.remove(&app()).await;
    assert!(reader.next().await.is_none());
    assert!(!temp.path().join("logs/hill").exists());
    assert!(logs.tail(&app(), 10, LogFilter::all()).await.is_empty());
    logs.remove(&app()).await;
}

#[tokio::test]
async fn readers_end_when_the_logs_close() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    logs.append(&app(), web("last"));
    let mut reader = std::pin::pin!(logs.follow(&app(), 10, LogFilter::all()));
    assert_eq!(reader.next().await.unwrap().text, "last");
    drop(logs);
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn idle_apps_hold_no_files_open() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    for n in 0..100 {
        logs.platform(&AppName::parse(&format!("app-{n}")).unwrap(), "created");
    }
    logs.flush().await;
    let ours = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|file| file.starts_with(temp.path())));
    assert_eq!(ours.count(), 0);
}

#[tokio::test]
async fn who_asks_is_told_when_a_line_is_in_its_file() {
    let temp = tempfile::tempdir().unwrap();
    let logs = open(&temp, 1_000_000);
    let folder = temp.path().join("logs/hill");
    let (tell, told) = std::sync::mpsc::channel();
    for n in 0..100 {
        let (tell, folder) = (tell.clone(), folder.clone());
        let kept = move || {
            let files = std::fs::read_dir(&folder).unwrap().flatten();
            let text: String = files.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
            tell.send((n, text.contains(&format!("line {n}\n")))).unwrap();
        };
        logs.keep(&app(), web(format!("line {n}")), Some(Box::new(kept)));
    }
    logs.flush().await;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..100).map(|n| (n, true)).collect::<Vec<_>>());
}

#[test]
fn nobody_is_told_of_lines_that_are_lost() {
    let mut backlog = backlog::Backlog::new(1_000);
    let (tell, told) = std::sync::mpsc::channel();
    for n in 0..100 {
        let tell = tell.clone();
        backlog.push(web(n.to_string()), Some(Box::new(move || tell.send(n).unwrap())));
    }
    let batch = backlog.take();
    batch.kept.into_iter().for_each(|kept| kept());
    let told: Vec<u64> = told.try_iter().collect();
    assert_eq!(told, (batch.lost..100).collect::<Vec<_>>(), "those that stayed, in their order");
}
