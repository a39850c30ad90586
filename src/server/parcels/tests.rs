use std::io::{Read as _, Write as _};

use futures_util::stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

const TTL: Duration = Duration::from_secs(60);

fn door() -> (tempfile::TempDir, Arc<Parcels>) {
    let dir = tempfile::tempdir().unwrap();
    let parcels = Parcels::open(dir.path().join("parcels"), &[7; 32]).unwrap();
    (dir, parcels)
}

fn expect(parcels: &Arc<Parcels>, build: &str) -> Parcel {
    let mut file = parcels.file().unwrap();
    file.write_all(build.as_bytes()).unwrap();
    parcels.expect(build, file.into_temp_path(), 10).unwrap()
}

/// What an address is signed with: when it expires, and the signature.
fn signed(url: &Url) -> (u64, String) {
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    (query["expires"].parse().unwrap(), query["signature"].clone())
}

fn addresses(parcel: &Parcel) -> ((u64, String), (u64, String)) {
    let (out, back) = parcel.addresses(&Url::parse("https://paas.example/behind").unwrap(), TTL);
    assert_eq!((out.path(), back.path()), ("/behind/builds/one/folders", "/behind/builds/one/folders"));
    (signed(&out), signed(&back))
}

fn pieces(pieces: &[&'static str]) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect::<Vec<_>>())
}

fn left(parcels: &Parcels) -> usize {
    std::fs::read_dir(&parcels.dir).unwrap().count()
}

#[tokio::test]
async fn an_address_is_for_one_build_and_one_way() {
    let (_dir, parcels) = door();
    let (one, _two) = (expect(&parcels, "one"), expect(&parcels, "two"));
    let (out, back) = addresses(&one);
    let text = std::fs::read_to_string(parcels.outgoing("one", out.0, &out.1).unwrap()).unwrap();
    assert_eq!(text, "one");
    for (build, expires, signature) in
        [("one", back.0, &back.1), ("two", out.0, &out.1), ("one", out.0 + 1, &out.1), ("one", out.0, &String::new())]
    {
        let refused = parcels.outgoing(build, expires, signature);
        assert!(matches!(refused, Err(ParcelError::Foreign)), "{build} {refused:?}");
    }
    let refused = parcels.take_in("one", out.0, &out.1, pieces(&["x"])).await;
    assert!(matches!(refused, Err(ParcelError::Foreign)), "{refused:?}");
    let (expired, _) = one.addresses(&Url::parse("http://x").unwrap(), Duration::ZERO);
    let (expires, signature) = signed(&expired);
    assert!(matches!(parcels.outgoing("one", expires, &signature), Err(ParcelError::Foreign)));
}

#[tokio::test]
async fn a_result_is_taken_in_once_and_while_it_is_waited_for() {
    let (_dir, parcels) = door();
    let parcel = expect(&parcels, "one");
    let (out, (expires, signature)) = addresses(&parcel);
    parcels.take_in("one", expires, &signature, pieces(&["abc", "def"])).await.unwrap();
    let again = parcels.take_in("one", expires, &signature, pieces(&["xyz"])).await;
    assert!(matches!(again, Err(ParcelError::Done)), "{again:?}");
    let mut text = String::new();
    parcel.open().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "abcdef");
    let late = parcels.take_in("one", expires, &signature, pieces(&["xyz"])).await;
    assert!(matches!(late, Err(ParcelError::Unknown)), "{late:?}");
    assert!(matches!(parcels.outgoing("one", out.0, &out.1), Err(ParcelError::Unknown)));
    assert_eq!(left(&parcels), 0);
}

#[tokio::test]
async fn of_one_that_breaks_off_nothing_is_left_and_it_may_come_again() {
    let (_dir, parcels) = door();
    let parcel = expect(&parcels, "one");
    let (_, (expires, signature)) = addresses(&parcel);
    let broken = stream::iter([Ok(Bytes::from_static(b"ab")), Err(io::Error::other("reset"))]);
    let refused = parcels.take_in("one", expires, &signature, broken).await;
    assert!(matches!(refused, Err(ParcelError::Broken(_))), "{refused:?}");
    assert_eq!(left(&parcels), 1, "what it begins with");

    // One whose connection is dead, and another attempt.
    let (_stays, silence) = mpsc::channel(1);
    let (dead, anew) = tokio::join!(
        parcels.take_in("one", expires, &signature, ReceiverStream::new(silence)),
        parcels.take_in("one", expires, &signature, pieces(&["abc"])),
    );
    assert!(matches!(dead, Err(ParcelError::Overtaken)), "{dead:?}");
    anew.unwrap();
    let mut text = String::new();
    parcel.open().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
}

#[tokio::test]
async fn more_than_may_be_is_found_out_as_it_comes() {
    let (_dir, parcels) = door();
    let mut parcel = expect(&parcels, "one");
    let (_, (expires, signature)) = addresses(&parcel);
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"0123")));
    let (refused, ()) = tokio::join!(parcels.take_in("one", expires, &signature, endless), parcel.overflows());
    assert!(matches!(refused, Err(ParcelError::TooMuch)), "{refused:?}");
    assert!(parcel.open().is_none());
    assert_eq!(left(&parcels), 0);
}

#[tokio::test]
async fn what_is_under_way_ends_when_nobody_waits_any_more() {
    let (_dir, parcels) = door();
    let parcel = expect(&parcels, "one");
    let (_, (expires, signature)) = addresses(&parcel);
    let (_stays, silence) = mpsc::channel(1);
    let coming = parcels.take_in("one", expires, &signature, ReceiverStream::new(silence));
    let (ended, ()) = tokio::join!(coming, async {
        tokio::task::yield_now().await;
        drop(parcel);
    });
    assert!(matches!(ended, Err(ParcelError::Unknown)), "{ended:?}");
}

#[tokio::test]
async fn who_closes_waits_for_those_that_are_under_way() {
    let (_dir, parcels) = door();
    let parcel = expect(&parcels, "one");
    let (_, (expires, signature)) = addresses(&parcel);
    let (closing, also) = (parcels.clone(), parcels.clone());
    let closing = tokio::spawn(async move { closing.close().await });
    tokio::task::yield_now().await;
    let refused = also.expect("two", also.file().unwrap().into_temp_path(), 10);
    assert!(matches!(refused, Err(ParcelError::Closed)), "{refused:?}");
    parcels.take_in("one", expires, &signature, pieces(&["abc"])).await.unwrap();
    assert!(!closing.is_finished());
    assert!(parcel.open().is_some());
    closing.await.unwrap();
    assert_eq!(left(&parcels), 0);
}

#[test]
fn what_a_killed_server_left_is_cleared_away() {
    let (dir, parcels) = door();
    let (_, path) = parcels.file().unwrap().keep().unwrap();
    drop(parcels);
    Parcels::open(dir.path().join("parcels"), &[7; 32]).unwrap();
    assert!(!path.exists());
}
