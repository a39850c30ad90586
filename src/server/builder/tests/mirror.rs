//! Erlang and Elixir from a mirror: a small one on loopback, whose builds lead to the machine's own programs.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::fixtures::{Bench, unpacked, write};
use crate::server::builder::BuildError;

const APP: [(&str, &str); 3] = [
    (
        "mix.exs",
        "defmodule A.MixProject do\n  use Mix.Project\n  def project, do: [app: :a, version: \"1.0.0\"]\nend\n",
    ),
    ("lib/a.ex", "defmodule A do\nend\n"),
    ("elixir_buildpack.config", "erlang_version=98.1\nelixir_version=97\n"),
];

fn run(dir: &Path, program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Puts a build beside its list.
fn list(dir: &Path, name: &str, file: &str) {
    let sum = hex::encode(Sha256::digest(std::fs::read(dir.join(file)).unwrap()));
    let old = std::fs::read_to_string(dir.join("builds.txt")).unwrap_or_default();
    write(&dir.join("builds.txt"), &format!("{old}{name} 0000 2026-01-01T00:00:00Z {sum}\n"), 0o644);
}

/// The layout that the pack's `mirror.sh` tells of.
fn mirror(root: &Path) {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let system = Command::new("bash")
        .args(["-c", "source config/buildpacks/elixir/lib/mirror.sh; mirror_system"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
        .stdout;
    let otp = root.join("otp").join(arch).join(String::from_utf8(system).unwrap().trim());
    write(&otp.join("OTP-98.1.2/Install"), "#!/bin/bash\necho \"$2\" >installed_for\n", 0o755);
    write(&otp.join("OTP-98.1.2/bin/erl"), "#!/bin/bash\nexec /usr/bin/erl \"$@\"\n", 0o755);
    run(&otp, "tar", &["-czf", "OTP-98.1.2.tar.gz", "OTP-98.1.2"]);
    list(&otp, "OTP-98.0", "OTP-98.1.2.tar.gz");
    list(&otp, "OTP-98.1.2", "OTP-98.1.2.tar.gz");
    let elixir = root.join("elixir");
    for program in ["elixir", "mix"] {
        let script = format!("#!/bin/bash\necho from the mirror >&2\nexec /usr/bin/{program} \"$@\"\n");
        write(&elixir.join("bin").join(program), &script, 0o644);
    }
    let zip = "{ok, _} = zip:create(\"v97.0.3-otp-98.zip\", [\"bin\"]), halt().";
    run(&elixir, "erl", &["-noshell", "-eval", zip]);
    list(&elixir, "v97.0.3-otp-98", "v97.0.3-otp-98.zip");
    list(&elixir, "v97.1.0-rc.1-otp-98", "v97.0.3-otp-98.zip");
    list(&elixir, "v97.0.9-otp-99", "v97.0.3-otp-98.zip");
}

/// Serves a folder; counts the archives it gave out.
async fn serve(root: std::path::PathBuf) -> (url::Url, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = given.clone();
    let app = axum::Router::new().fallback(move |uri: axum::http::Uri| async move {
        counter.fetch_add(usize::from(!uri.path().ends_with(".txt")), Ordering::Relaxed);
        std::fs::read(root.join(uri.path().trim_start_matches('/'))).map_err(|_| axum::http::StatusCode::NOT_FOUND)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    (url, given)
}

#[tokio::test(flavor = "multi_thread")]
async fn downloaded_once_checked_and_in_the_slug() {
    let mut bench = Bench::new();
    let (built, said) = bench.build(&APP).await;
    assert!(matches!(built, Err(BuildError::Pack { .. })), "{built:?}");
    assert!(said.contains("wants Erlang 98.1 and Elixir 97") && said.contains("no mirror is configured"), "{said}");

    mirror(&bench.path("mirror"));
    let (url, given) = serve(bench.path("mirror")).await;
    bench.config.elixir_mirror = Some(url);
    let (built, said) = bench.build(&APP).await;
    let files = unpacked(&built.unwrap());
    assert!(said.contains("Installing Erlang 98.1.2 and Elixir 97.0.3 from the mirror"), "{said}");
    assert!(said.contains("from the mirror\n"), "{said}");
    assert_eq!(files[".platform_tools/erlang/installed_for"], "/app/.platform_tools/erlang\n");
    assert!(files[".profile.d/elixir_tools.sh"].starts_with("export PATH=/app/.platform_tools/elixir/bin:"));
    assert!(bench.build(&APP).await.0.is_ok());
    assert_eq!(given.load(Ordering::Relaxed), 2, "builds are downloaded once");

    bench.clean = true;
    std::fs::write(bench.path("mirror/elixir/v97.0.3-otp-98.zip"), "other").unwrap();
    let (built, said) = bench.build(&APP).await;
    assert!(built.is_err() && said.contains("its SHA-256 differs"), "{said}");
}
