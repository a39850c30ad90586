//! The elixir pack's ways through a project, without the network.

use super::fixtures::{Bench, in_every_sandbox, unpacked};
use crate::server::builder::BuildError;
use crate::server::domain::{ProcessType, SlugKind};

in_every_sandbox! {
    dependencies_hooks_assets_and_a_chosen_release
    releases_without_a_choice_and_a_choice_against_them
    what_cannot_be_built_says_so
}

const MIX: &str = r#"defmodule A.MixProject do
  use Mix.Project

  def project do
    [
      app: :a, version: "2.0.0-rc.1+x", deps: [{:b, path: "vendor/b"}], aliases: ["assets.deploy": &assets/1],
      releases: [one: [applications: [a: :permanent]], two: []], DEFAULT
    ]
  end

  def application, do: [extra_applications: [:logger]]
  defp assets(_), do: File.write!("priv/static/made.txt", "asset")
end
"#;

const B: &str = r#"defmodule B.MixProject do
  use Mix.Project
  def project, do: [app: :b, version: "0.1.0"]
end
"#;

fn project(mix: &str) -> Vec<(&'static str, String)> {
    let files = [
        ("vendor/b/mix.exs", B),
        ("vendor/b/lib/b.ex", "defmodule B do\n  def b, do: :b\nend\n"),
        ("lib/a.ex", "defmodule A do\n  def a, do: B.b()\nend\n"),
        ("priv/static/here.txt", ""),
        (".tool-versions", "elixir 1.14.0-otp-25\nerlang 25\n"),
    ];
    let mut files: Vec<_> = files.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
    files.push(("mix.exs", mix.to_owned()));
    files
}

async fn build(
    bench: &Bench,
    files: &[(&str, String)],
) -> (Result<crate::server::builder::BuiltSlug, BuildError>, String) {
    bench.build(&files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>()).await
}

async fn dependencies_hooks_assets_and_a_chosen_release(bench: Bench) {
    let mut files = project(&MIX.replace("DEFAULT", "default_release: :one"));
    let config = "hook_pre_fetch_dependencies='echo pre-fetch'\nhook_pre_compile='echo pre; pwd'\n\
                  hook_post_compile='echo post >made_by_hook; cat made_by_hook'\n";
    files.push(("elixir_buildpack.config", config.to_owned()));
    files.push(("rel/overlays/Procfile", "web: bin/one eval A.a && bin/one start\n".to_owned()));
    files.push((".gigalixir/releases/includes.txt", "# more\nmade_by_hook\n".to_owned()));
    let (built, said) = build(&bench, &files).await;
    let slug = built.unwrap();
    let order =
        ["pre-fetch", "-----> Fetching", "       pre\n", "-----> Compiling", "       post", "-----> Building assets"];
    let places: Vec<_> = order.iter().map(|text| said.find(text).unwrap_or_else(|| panic!("{text}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(slug.kind, SlugKind::Release);
    assert_eq!(slug.customer_app_version.as_deref(), Some("2.0.0-rc.1+x"));
    assert_eq!(slug.processes[&ProcessType::web()], "bin/one eval A.a && bin/one start");
    let files = unpacked(&slug);
    assert_eq!(files["made_by_hook"], "post\n");
    assert_eq!(files["lib/a-2.0.0-rc.1+x/priv/static/made.txt"], "asset");
    assert!(files.contains_key("bin/one") && files.contains_key("lib/b-0.1.0/ebin/b.app"));
}

async fn releases_without_a_choice_and_a_choice_against_them(mut bench: Bench) {
    let mut files = project(&MIX.replace(", DEFAULT", ""));
    let (built, said) = build(&bench, &files).await;
    assert!(built.is_err() && said.contains("mix.exs has 2 releases (one two)"), "{said}");
    bench.env.insert("GIGALIXIR_RELEASE_NAME".into(), "two".into());
    let (built, _) = build(&bench, &files).await;
    assert_eq!(built.unwrap().customer_app_name.as_deref(), Some("two"));
    files.push(("elixir_buildpack.config", "release=false\n".to_owned()));
    let (built, _) = build(&bench, &files).await;
    assert_eq!(built.unwrap().kind, SlugKind::Mix);
}

async fn what_cannot_be_built_says_so(bench: Bench) {
    let mut files = project(&MIX.replace("DEFAULT", "default_release: :one"));
    files.push(("lib/c.ex", "defmodule C do\n  syntax error here(\nend\n".to_owned()));
    let (built, said) = build(&bench, &files).await;
    assert!(matches!(built, Err(BuildError::Pack { code: 1, .. })), "{built:?}");
    assert!(said.contains("lib/c.ex:"), "{said}");
    let (built, said) = build(&bench, &[("mix.exs", "nonsense(".to_owned())]).await;
    assert!(built.is_err() && said.contains("mix.exs cannot be read"), "{said}");
    let versions = [("mix.exs", B.to_owned()), (".tool-versions", "elixir main\nerlang 25\n".to_owned())];
    let (built, said) = build(&bench, &versions).await;
    assert!(built.is_err() && said.contains("`main` is not a version"), "{said}");
}
