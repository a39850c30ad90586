//! What ten thousand certificates cost: start-up, memory, lookup. A measurement, run by hand:
//! `cargo test --release tls::measuring -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use super::{Tls, testing};
use crate::server::config::TlsConfig;
use crate::server::domain::{CertificateSource, Hostname};
use crate::server::seal::Sealer;
use crate::server::store;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn ten_thousand_certificates() {
    let (store, folder) = store::testing::open().await;
    let sealer = Arc::new(Sealer::open(&folder.path().join("sealing.key")).unwrap());
    let host = |n: usize| format!("host-{n}.example.org");
    let mut have = 0;
    for count in [10, 10_000] {
        for n in have..count {
            let made = testing::certificate(&sealer, &[&host(n)], CertificateSource::Own);
            store.keep_certificate(made).await.unwrap();
        }
        have = count;
        let (before, begun) = (resident_kib(), Instant::now());
        let domain = Hostname::localhost();
        let tls = Tls::open(TlsConfig::default(), domain, store.clone(), sealer.clone()).await.unwrap();
        let (opened, cold) = (begun.elapsed(), resident_kib());
        let begun = Instant::now();
        (0..count).for_each(|n| assert!(tls.0.shelf.find(&host(n)).unwrap().ready(&sealer).is_some()));
        let (first, warm) = (begun.elapsed() / count as u32, resident_kib());
        let hosts: Vec<String> = (0..1000).map(|n| host(n * 7 % count)).collect();
        let begun = Instant::now();
        (0..1000).for_each(|_| hosts.iter().for_each(|host| assert!(tls.0.shelf.find(host).is_some())));
        let lookup = begun.elapsed() / 1_000_000;
        eprintln!(
            "{count}: open {opened:?}, +{} KiB; first use {first:?} each, +{} KiB in all; lookup {lookup:?}",
            cold.saturating_sub(before),
            warm.saturating_sub(cold)
        );
    }
}
