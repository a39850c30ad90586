use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::*;

const KEY: &[u8; 32] = &[7; 32];

fn archive(folder: &Path, content: &[u8]) -> (SlugDigest, PathBuf) {
    let path = folder.join(format!("archive-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, content).unwrap();
    (SlugDigest::parse(&hex::encode(Sha256::digest(content))).unwrap(), path)
}

fn on_disk(temp: &tempfile::TempDir) -> Slugs {
    Slugs::open(&SlugsConfig::on_disk(temp.path().join("slugs")), KEY).unwrap()
}

fn age(path: &Path, by: Duration) {
    std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test]
async fn put_moves_the_archive_in_and_survives_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let (digest, path) = archive(temp.path(), b"a slug");
    on_disk(&temp).put(&digest, &path).await.unwrap();
    assert!(!path.exists());
    let stored = on_disk(&temp).local_path(&digest).await.unwrap();
    assert_eq!(std::fs::read(stored).unwrap(), b"a slug");
}

#[tokio::test]
async fn an_archive_that_is_not_what_it_says_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let slugs = on_disk(&temp);
    let (digest, _) = archive(temp.path(), b"one");
    let (_, other) = archive(temp.path(), b"another");
    assert!(matches!(slugs.put(&digest, &other).await, Err(SlugsError::Damaged { .. })));
    assert!(matches!(slugs.local_path(&digest).await, Err(SlugsError::Missing(_))));
}

#[tokio::test]
async fn a_second_put_changes_nothing_and_mends_a_damaged_file() {
    let temp = tempfile::tempdir().unwrap();
    let slugs = on_disk(&temp);
    let (digest, first) = archive(temp.path(), b"same");
    slugs.put(&digest, &first).await.unwrap();
    let stored = slugs.local_path(&digest).await.unwrap();
    let (_, second) = archive(temp.path(), b"same");
    slugs.put(&digest, &second).await.unwrap();
    assert!(!second.exists());
    std::fs::write(&stored, b"rotten").unwrap();
    let (_, third) = archive(temp.path(), b"same");
    slugs.put(&digest, &third).await.unwrap();
    assert_eq!(std::fs::read(&stored).unwrap(), b"same");
}

#[tokio::test]
async fn what_was_cut_off_is_cleared_at_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    drop(on_disk(&temp));
    let half = temp.path().join("slugs/incoming/half");
    std::fs::write(&half, b"half a sl").unwrap();
    drop(on_disk(&temp));
    assert!(!half.exists());
}

#[tokio::test]
async fn sweep_spares_the_kept_and_the_young() {
    let temp = tempfile::tempdir().unwrap();
    let slugs = on_disk(&temp);
    let mut digests = Vec::new();
    for content in [&b"kept"[..], b"young", b"old", b"put again"] {
        let (digest, path) = archive(temp.path(), content);
        slugs.put(&digest, &path).await.unwrap();
        let days = Duration::from_secs(if content == b"young" { 0 } else { 3 * 24 * 3600 });
        age(&slugs.local_path(&digest).await.unwrap(), days);
        digests.push(digest);
    }
    let (again, path) = archive(temp.path(), b"put again");
    slugs.put(&again, &path).await.unwrap();
    let swept = slugs.sweep(&HashSet::from([digests[0].clone()])).await.unwrap();
    assert_eq!(swept, 1);
    assert!(matches!(slugs.local_path(&digests[2]).await, Err(SlugsError::Missing(_))));
    for spared in [0, 1, 3] {
        slugs.local_path(&digests[spared]).await.unwrap();
    }
}

#[tokio::test]
async fn a_signature_opens_one_slug_until_it_expires() {
    let temp = tempfile::tempdir().unwrap();
    let slugs = on_disk(&temp);
    let digest = SlugDigest::parse(&"ab".repeat(32)).unwrap();
    let base = Url::parse("https://paas.example/behind").unwrap();
    let url = slugs.signed_url(&base, &digest, Duration::from_secs(60));
    assert_eq!(url.path(), format!("/behind/slugs/{digest}.tar.gz"));
    let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    let expires: u64 = query["expires"].parse().unwrap();
    let signature = &query["signature"];
    assert!(slugs.verify(&digest, expires, signature));

    let other = SlugDigest::parse(&"ac".repeat(32)).unwrap();
    assert!(!slugs.verify(&other, expires, signature));
    assert!(!slugs.verify(&digest, expires + 1, signature));
    assert!(!slugs.verify(&digest, expires, &signature[2..]));
    assert!(!slugs.verify(&digest, expires, ""));
    assert!(!slugs.verify(&digest, expires, &format!("0{}", &signature[1..signature.len() - 1])));
    let foreign = Slugs::open(&SlugsConfig::on_disk(temp.path().join("slugs")), &[8; 32]).unwrap();
    assert!(!foreign.verify(&digest, expires, signature));

    let past = slugs.signed_url(&base, &digest, Duration::ZERO);
    let query: std::collections::HashMap<_, _> = past.query_pairs().into_owned().collect();
    assert!(!slugs.verify(&digest, query["expires"].parse().unwrap(), &query["signature"]));
}

fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn bucket(endpoint: Url) -> BucketConfig {
    BucketConfig {
        endpoint,
        bucket: "slugs".into(),
        region: "us-east-1".into(),
        access_key_id: "key".into(),
        secret_access_key: "secret".to_owned().into(),
        prefix: "plat/form".into(),
    }
}

/// A real S3 implementation in its own process: `pip install 'moto[server]'`.
struct Moto(Child);

impl Moto {
    /// `None`, and a loud word, where it is not installed.
    fn start() -> Option<(Self, Url)> {
        let server = Command::new("moto_server")
            .args(["--host", "127.0.0.1", "--port", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut server) = server else {
            eprintln!("SKIPPED: `moto_server` is not on the path; install it with pip install 'moto[server]'");
            return None;
        };
        let lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let moto = Self(server);
        for line in lines.map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("Running on ") {
                return Some((moto, Url::parse(address.trim()).unwrap()));
            }
        }
        panic!("moto_server ended before it listened");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn in_bucket(endpoint: &Url, temp: &tempfile::TempDir, cache_bytes: u64, grace: Duration) -> Slugs {
    let config =
        SlugsConfig { folder: temp.path().join("cache"), bucket: Some(bucket(endpoint.clone())), cache_bytes, grace };
    let slugs = Slugs::open(&config, KEY).unwrap();
    reqwest::Client::new().put(endpoint.join("slugs").unwrap()).send().await.unwrap();
    slugs
}

#[tokio::test]
async fn a_bucket_keeps_slugs_and_the_cache_is_only_a_copy() {
    crypto();
    let Some((_moto, endpoint)) = Moto::start() else { return };
    let temp = tempfile::tempdir().unwrap();
    let slugs = in_bucket(&endpoint, &temp, 1, Duration::ZERO).await;
    // Large enough for a multipart upload of three parts.
    let content: Vec<u8> = (0..12_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (digest, path) = archive(temp.path(), &content);
    slugs.put(&digest, &path).await.unwrap();
    let copy = slugs.local_path(&digest).await.unwrap();
    std::fs::remove_file(&copy).unwrap();
    let both = tokio::join!(slugs.local_path(&digest), slugs.local_path(&digest));
    assert_eq!(both.0.unwrap(), copy);
    assert_eq!(both.1.unwrap(), copy);
    assert_eq!(std::fs::read(&copy).unwrap(), content);

    let (second, path) = archive(temp.path(), b"small");
    age(&copy, Duration::from_secs(3600));
    slugs.put(&second, &path).await.unwrap();
    assert!(!copy.exists(), "the least recently used copy goes when the cache is full");
    assert!(slugs.local_path(&second).await.unwrap().exists(), "a copy in use stays");

    assert_eq!(slugs.sweep(&HashSet::from([digest.clone()])).await.unwrap(), 1);
    assert!(matches!(slugs.local_path(&second).await, Err(SlugsError::Missing(_))));
    slugs.local_path(&digest).await.unwrap();
}

#[tokio::test]
async fn a_bucket_s_young_slugs_are_spared_and_rotten_ones_found_out() {
    crypto();
    let Some((_moto, endpoint)) = Moto::start() else { return };
    let temp = tempfile::tempdir().unwrap();
    let slugs = in_bucket(&endpoint, &temp, 1_000_000, Duration::from_secs(3600)).await;
    let (digest, path) = archive(temp.path(), b"young");
    slugs.put(&digest, &path).await.unwrap();
    assert_eq!(slugs.sweep(&HashSet::new()).await.unwrap(), 0);
    std::fs::remove_file(slugs.local_path(&digest).await.unwrap()).unwrap();
    let (_, rotten) = archive(temp.path(), b"rotten");
    let Place::Bucket(both) = &slugs.place else { panic!("no bucket") };
    both.0.upload(&digest, &rotten).await.unwrap();
    assert!(matches!(slugs.local_path(&digest).await, Err(SlugsError::Damaged { .. })));
}
