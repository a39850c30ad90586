//! The buildpack API, with packs of a few lines.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use super::fixtures::{Bench, Folders, in_every_sandbox, unpacked, write};
use crate::server::builder::buildpacks::PackRef;
use crate::server::builder::builtin::Builtin;
use crate::server::builder::packs::{KEPT, Packs};
use crate::server::builder::{BuildError, GitSource};
use crate::server::domain::{ProcessType, SlugKind};
use crate::server::progress::Progress;

in_every_sandbox! {
    a_procfile_app
    packs_run_in_order_and_see_what_they_should
    failures_name_their_pack
    a_cache_lives_on_until_it_is_cleaned
    a_release_in_the_cache_is_the_slug
    a_fetched_pack_serves_when_its_source_is_gone
    a_tarball_is_unpacked_without_its_folder
    output_comes_as_it_is_written
}

async fn a_procfile_app(bench: Bench) {
    let files =
        [("Procfile", "web: python3 app.py\nclock: ./c\n"), ("app.py", "x"), (".slugignore", "*.md\n"), ("a.md", "")];
    let (built, said) = bench.build(&files).await;
    let slug = built.unwrap();
    assert_eq!(slug.kind, SlugKind::Other);
    assert_eq!(slug.processes[&ProcessType::web()], "python3 app.py");
    assert_eq!(unpacked(&slug).into_keys().collect::<Vec<_>>(), [".slugignore", "Procfile", "app.py"]);
    assert_eq!(slug.size, fs::metadata(&slug.archive).unwrap().len());
    assert!(said.contains("-----> Procfile app detected") && said.contains("Process types: clock, web"), "{said}");
    let (again, _) = bench.build(&files).await;
    assert_eq!(again.unwrap().digest, slug.digest);
}

async fn packs_run_in_order_and_see_what_they_should(mut bench: Bench) {
    bench.env.insert("TOKEN".into(), " a\nb'$(id)\n".into());
    bench.env.insert("PATH".into(), "/nowhere".into());
    bench.env.insert("LD_PRELOAD".into(), "/nowhere.so".into());
    let first = bench.pack(
        "first",
        &[
            ("detect", "[[ -f $1/Procfile ]] && echo First"),
            (
                "compile",
                r#"echo "$1 $2 $3 $PWD $HOME $STACK $(id -u)"; cmp <(printf %s "$TOKEN") "$3/TOKEN" && echo same
                printf 'export FROM_FIRST=yes\n' >"$(dirname "$0")/../export"; echo one >"$1/made"; echo err >&2
                cat "$3/PATH"; ls -A /tmp /tmp/build/"#,
            ),
            ("release", "printf 'default_process_types:\\n  web: first\\n'"),
        ],
    );
    let second = bench.pack(
        "second",
        &[
            ("compile", "echo got $FROM_FIRST; cat /app/made; mkdir -p $1/.profile.d; echo 1 >$1/.profile.d/x.sh"),
            ("release", "printf 'default_process_types:\\n  web: second\\n  worker: w\\n'"),
        ],
    );
    let list = format!("# packs\n{}\n\n{}\n", first.display(), second.display());
    let (built, said) = bench.build(&[(".buildpacks", &list), ("Procfile", "# none\n")]).await;
    let slug = built.unwrap();
    assert!(said.contains("/app /tmp/cache /tmp/env /app /app test-1 1000\nsame\nerr\n/nowhere"), "{said}");
    assert!(said.contains("got yes\none\n"), "{said}");
    let processes: Vec<_> = slug.processes.iter().map(|(name, command)| format!("{name}: {command}")).collect();
    assert_eq!(processes, ["web: second", "worker: w"]);
    assert!(unpacked(&slug).contains_key(".profile.d/x.sh"));
    assert!(!first.join("export").exists(), "a build changed the pack itself");
}

async fn failures_name_their_pack(bench: Bench) {
    let good = bench.pack("good", &[]);
    let bad = bench.pack("bad", &[("compile", "echo oh no >&2; exit 7")]);
    let unfit = bench.pack("unfit", &[("detect", "exit 1")]);
    let list =
        |packs: &[&std::path::Path]| packs.iter().map(|pack| format!("{}\n", pack.display())).collect::<String>();
    let (built, said) = bench.build(&[(".buildpacks", &list(&[&good, &bad]))]).await;
    assert!(matches!(built, Err(BuildError::Pack { code: 7, ref pack, .. }) if pack.ends_with("bad")), "{built:?}");
    assert!(said.contains("oh no") && said.contains(" !     Buildpack "), "{said}");
    let (built, _) = bench.build(&[(".buildpacks", &list(&[&unfit, &good]))]).await;
    assert!(matches!(built, Err(BuildError::Detect { .. })), "{built:?}");
    let (built, _) = bench.build(&[(".buildpacks", &list(&[&good]))]).await;
    assert!(matches!(built, Err(BuildError::NoProcesses)), "{built:?}");
    let (built, said) = bench.build(&[("main.rb", "")]).await;
    assert!(matches!(built, Err(BuildError::NothingDetected { .. })) && said.contains("Found at the top: main.rb."));
    let (built, _) = bench.build(&[("Procfile", "web: a\nnonsense\n")]).await;
    assert!(matches!(built, Err(BuildError::Procfile(ref error)) if error.line == 2), "{built:?}");
    let (built, _) = bench.build(&[(".buildpacks", "/etc")]).await;
    assert!(matches!(built, Err(BuildError::PackFetch { .. })), "{built:?}");
    let (built, said) = bench.build(&[(".buildpacks", "\nruby")]).await;
    assert!(built.unwrap_err().to_string().starts_with(".buildpacks, line 2"), "{said}");
}

async fn a_cache_lives_on_until_it_is_cleaned(mut bench: Bench) {
    let script = r#"echo "cached: $(cat $2/note)$GIGALIXIR_SHOULD_CLEAN_CACHE."; echo mine >$2/note"#;
    assert!(bench.compile(script).await.1.contains("cached: ."));
    assert!(bench.compile(script).await.1.contains("cached: mine."));
    bench.clean = true;
    assert!(bench.compile(script).await.1.contains("cached: True."));
}

async fn a_release_in_the_cache_is_the_slug(bench: Bench) {
    let script = r#"mkdir -p $2/out /tmp/r/bin; echo 'web: bin/x start' >/tmp/r/Procfile; echo x >/tmp/r/bin/x
        tar -C /tmp/r -czf $2/out/my_app-1.2.0-rc.1.tar.gz .; echo '{"distillery":{"eval":"elixir"}}' >$2/out/capabilities"#;
    let slug = bench.compile(script).await.0.unwrap();
    assert_eq!(slug.kind, SlugKind::Release);
    assert_eq!(
        (slug.customer_app_name.as_deref(), slug.customer_app_version.as_deref()),
        (Some("my_app"), Some("1.2.0-rc.1"))
    );
    assert_eq!(slug.capabilities["distillery"]["eval"], "elixir");
    assert_eq!(slug.processes[&ProcessType::web()], "bin/x start");
    assert!(unpacked(&slug).contains_key("bin/x") && slug.archive.starts_with(bench.path("builder")));
    let slug = bench.compile(":").await.0.unwrap();
    assert_eq!((slug.kind, slug.customer_app_name), (SlugKind::Other, None));
}

async fn a_fetched_pack_serves_when_its_source_is_gone(mut bench: Bench) {
    bench.env.insert("BUILDPACK_URL".into(), "https://user:token@host.test/some/pack#v2".into());
    let files = [("Procfile", "web: x")];
    let (built, said) = bench.build(&files).await;
    assert!(matches!(built, Err(BuildError::PackFetch { .. })) && !said.contains("token@"), "{said}");
    for script in ["detect", "compile"] {
        write(&bench.path("repos/pack/v2/bin").join(script), "#!/bin/sh\necho Fetched\n", 0o755);
    }
    assert!(bench.build(&files).await.1.contains("-----> Fetched app detected"));
    fs::remove_dir_all(bench.path("repos")).unwrap();
    let (built, said) = bench.build(&files).await;
    assert!(built.is_ok() && said.contains("as fetched before"), "{said}");
}

async fn a_tarball_is_unpacked_without_its_folder(bench: Bench) {
    let pack = bench.pack("tarred", &[]);
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    tar.append_dir_all("pack-main", &pack).unwrap();
    let body = tar.into_inner().unwrap().finish().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url::Url::parse(&format!("http://{}/pack.tgz", listener.local_addr().unwrap())).unwrap();
    let app = axum::Router::new().route("/pack.tgz", axum::routing::get(move || async { body }));
    tokio::spawn(async { axum::serve(listener, app).await });
    let into = tempfile::tempdir().unwrap();
    let http = reqwest::Client::new();
    super::super::tarball::fetch(&http, &url, into.path()).await.unwrap();
    assert!(into.path().join("bin/compile").is_file());
    let missing = url.join("/none.tgz").unwrap();
    let error = super::super::tarball::fetch(&http, &missing, into.path()).await.unwrap_err();
    assert!(error.contains("404"), "{error}");
}

async fn output_comes_as_it_is_written(bench: Bench) {
    let pack = bench.pack("slow", &[("compile", "echo early; sleep 3; echo late")]);
    let request = bench.request(bench.app(&[(".buildpacks", pack.to_str().unwrap()), ("Procfile", "web: x")]));
    let builder = bench.builder().await;
    let (progress, mut listener) = crate::server::progress::Progress::channel();
    let build = tokio::spawn(async move { builder.build(request, &progress).await });
    let begun = Instant::now();
    loop {
        let chunk = listener.output.recv().await.unwrap();
        if String::from_utf8_lossy(&chunk).contains("early") {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(listener);
    assert!(matches!(build.await.unwrap(), Err(BuildError::Cancelled)));
    assert!(begun.elapsed() < Duration::from_secs(2), "cancelling took {:?}", begun.elapsed());
}

#[tokio::test]
async fn fetched_packs_do_not_pile_up() {
    let bench = Bench::new();
    let packs = Packs {
        builtin: Builtin::unpack(&bench.path("builtin")).unwrap(),
        dir: bench.path("kept"),
        allowed: None,
        git: Arc::new(Folders(bench.path("repos"))),
        http: reqwest::Client::new(),
        copying: RwLock::default(),
    };
    let silent = Progress::silent();
    let fetch = async |version: usize, copy: usize| {
        let reference = format!("v{version}");
        for script in ["detect", "compile"] {
            write(&bench.path("repos/pack").join(&reference).join("bin").join(script), "#!/bin/sh\n", 0o755);
        }
        let pack = PackRef::Git { url: "https://host.test/pack".parse().unwrap(), reference: Some(reference) };
        packs.copy(&pack, bench.path(&format!("copy-{version}-{copy}")), &silent).await.unwrap();
    };
    for version in 0..KEPT + 3 {
        fetch(version, 0).await;
    }
    let folders = || fs::read_dir(bench.path("kept")).unwrap().map(|key| key.unwrap().path());
    assert_eq!(folders().count(), KEPT);
    futures_util::future::join_all((1..5).map(|copy| fetch(KEPT, copy))).await;
    for folder in folders() {
        let of_one =
            fs::read_dir(&folder).unwrap().filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir());
        assert_eq!(of_one.count(), 1, "those that were replaced are gone");
    }
}

#[test]
fn sources_are_objects() {
    fn takes(_: &dyn GitSource) {}
    takes(&super::fixtures::Folders("/".into()));
}
