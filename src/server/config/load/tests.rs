use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::server::config::variables::DOCUMENTED;

fn load(flags: Overrides, env: &[(&str, &str)]) -> Result<ServerConfig, String> {
    let env: BTreeMap<&str, &str> = env.iter().copied().chain([("HOME", "/home/me")]).collect();
    ServerConfig::from_parts(&flags, |name| env.get(name).map(OsString::from)).map_err(|error| error.to_string())
}

fn load_file(text: &str, env: &[(&str, &str)]) -> Result<ServerConfig, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load(Overrides { config: Some(file.path().into()), ..Overrides::default() }, env)
}

#[test]
fn the_documented_file_shows_the_defaults() {
    let shown: ServerConfig = toml::from_str(DOCUMENTED).unwrap();
    assert_eq!(format!("{shown:#?}"), format!("{:#?}", ServerConfig::default()));
}

/// The struct's own fields are learnt from serde's complaint about one that does not exist.
fn fields(section: &str) -> BTreeSet<String> {
    let text = if section.is_empty() { "bogus = 1".to_owned() } else { format!("[{section}]\nbogus = 1") };
    let complaint = toml::from_str::<ServerConfig>(&text).unwrap_err().message().to_owned();
    let (_, names) = complaint.split_once("expected one of").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys(table: &Table) -> BTreeSet<String> {
    table.keys().cloned().collect()
}

#[test]
fn every_key_is_documented() {
    let all = documented();
    assert_eq!(keys(&all), fields(""));
    let sections = [
        "smtp",
        "limits",
        "rates",
        "builder",
        "slugs",
        "deploy",
        "jobs",
        "router",
        "billing",
        "docker",
        "kubernetes",
        "tls",
    ];
    for section in sections {
        assert_eq!(keys(all[section].as_table().unwrap()), fields(section), "[{section}]");
    }
    for (outer, inner) in [("slugs", "s3"), ("tls", "eab"), ("tls", "dns")] {
        assert_eq!(keys(all[outer][inner].as_table().unwrap()), fields(&format!("{outer}.{inner}")));
    }
    assert!(all.try_into::<ServerConfig>().is_ok(), "every example is a good value");
}

#[test]
fn flags_go_before_variables_before_the_file() {
    let file = "domain = \"file.org\"\napi = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:1\"\n[smtp]\nhost = \"a\"";
    let env = [("GIGALIXIR_API", "127.0.0.1:2"), ("GIGALIXIR_HTTP", "127.0.0.1:2"), ("GIGALIXIR_SMTP_PORT", "99")];
    let config = load_file(file, &env).unwrap();
    assert_eq!((config.domain.as_str(), config.api.port(), config.smtp.port), ("file.org", 2, Some(99)));
    assert_eq!(config.smtp.host.as_deref(), Some("a"));
    let flags = Overrides { http: Some("127.0.0.1:3".into()), ..Overrides::default() };
    let config = load(flags, &env).unwrap();
    assert_eq!((config.http.port(), config.api.port()), (3, 2));
}

#[test]
fn every_key_is_a_variable() {
    let env = [
        ("GIGALIXIR_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("GIGALIXIR_SLUGS_S3_PREFIX", "123"),
        ("GIGALIXIR_LIMITS_RELEASES_KEPT", "7"),
        ("GIGALIXIR_DOMAIN", ""),
    ];
    let config = load(Overrides::default(), &env).unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!((config.slugs.s3.prefix.as_str(), config.limits.releases_kept), ("123", 7));
    assert_eq!(config.domain.as_str(), "localhost", "an empty variable is as good as none");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let wrong = load_file("domain = \"x.org\"\n[limits]\npack_mb = 3\n", &[]).unwrap_err();
    assert!(wrong.contains("pack_mb") && wrong.contains("line 3"), "{wrong}");
    let wrong = load_file("# where\napi = \"nowhere\"", &[]).unwrap_err();
    assert!(wrong.contains("line 2, `api`: "), "{wrong}");
    let wrong = load_file("[smtp]\npassword = \"hush", &[]).unwrap_err();
    assert!(wrong.contains("line 2, `password`: ") && !wrong.contains("hush"), "{wrong}");
    let wrong = load(Overrides::default(), &[("GIGALIXIR_LIMITS_SLUG_MIB", "lots")]).unwrap_err();
    assert!(wrong.contains("GIGALIXIR_LIMITS_SLUG_MIB"), "{wrong}");
    let wrong = load(Overrides { ssh: Some("22".into()), ..Overrides::default() }, &[]).unwrap_err();
    assert!(wrong.contains("--ssh"), "{wrong}");
    let wrong = load(Overrides { config: Some("/nonexistent/x".into()), ..Overrides::default() }, &[]).unwrap_err();
    assert!(wrong.contains("/nonexistent/x"), "{wrong}");
}

#[test]
fn what_cannot_work_is_refused() {
    for (text, word) in [
        ("[kubernetes]\nserver_url = \"ftp://x\"", "kubernetes.server_url"),
        ("[kubernetes]\nnamespace_prefix = \"A_\"", "namespace_prefix"),
        ("api_url = \"ftp://x\"", "api_url"),
        ("[slugs]\nstore = \"s3\"", "[slugs.s3]"),
        ("[smtp]\nusername = \"u\"", "together"),
        ("[limits]\nreleases_kept = 1", "at least 2"),
        ("[builder]\nminutes = 0", "builder.minutes"),
        ("[tls]\nchallenge = \"dns-01\"", "provider"),
        ("[tls.eab]\nkid = \"x\"", "together"),
        ("[tls.dns]\nprovider = \"acme-dns\"", "url"),
        ("[tls.dns]\nprovider = \"rfc2136\"\nserver = \"127.0.0.1:53\"", "key_name"),
        ("[gateway]\naddress = \"-oProxyCommand=x\"", "HOST:PORT"),
        ("[gateway]\nbuffer_mib = 0", "gateway.buffer_mib"),
        ("[billing]\nprice = -1", "billing.price"),
        ("trusted_proxies = [\"10.0.0.0/99\"]", "neither"),
        ("[smtp]\npassword_file = \"/nonexistent/y\"\nusername = \"u\"", "/nonexistent/y"),
    ] {
        let refusal = load_file(text, &[]).unwrap_err();
        assert!(refusal.contains(word), "{text}: {refusal}");
    }
}

#[test]
fn state_goes_to_the_users_folder() {
    assert_eq!(load(Overrides::default(), &[]).unwrap().data_dir, Path::new("/home/me/.local/state/gigalixir"));
    let config = load(Overrides::default(), &[("XDG_STATE_HOME", "/s")]).unwrap();
    assert_eq!(config.data_dir, Path::new("/s/gigalixir"));
    let homeless = ServerConfig::from_parts(&Overrides::default(), |_| None).unwrap_err().to_string();
    assert!(homeless.contains("--data-dir"), "{homeless}");
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    use secrecy::ExposeSecret;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush\n").unwrap();
    let text = format!("[smtp]\nusername = \"u\"\npassword_file = \"{}\"", secret.path().display());
    let config = load_file(&text, &[]).unwrap();
    assert_eq!(config.smtp.password.as_ref().unwrap().expose_secret(), "hush");
    assert!(!format!("{config:?}").contains("hush"));
    let both = load_file(&format!("{text}\npassword = \"p\""), &[]).unwrap_err();
    assert!(both.contains("choose one"), "{both}");
}

#[test]
fn the_data_directory_is_private() {
    let parent = tempfile::tempdir().unwrap();
    let config = ServerConfig { data_dir: parent.path().join("a/b"), ..ServerConfig::default() };
    let mode = || std::fs::metadata(&config.data_dir).unwrap().permissions().mode() & 0o777;
    config.prepare_data_dir().unwrap();
    assert_eq!(mode(), 0o700);
    std::fs::set_permissions(&config.data_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    config.prepare_data_dir().unwrap();
    assert_eq!(mode(), 0o700);
}
