//! What a reviewer would otherwise have to remember: layers, fences around crates, file heads and sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LONGEST_FILE: usize = 800;

/// Which modules of the crate a module may name. What is not listed here may not exist.
const LAYERS: &[(&str, &[&str])] = &[
    // The vocabulary: parse or refuse, nothing else.
    ("digest", &[]),
    ("fault", &[]),
    ("name", &["digest"]),
    ("node_id", &[]),
    ("media_type", &[]),
    ("strict_json", &[]),
    ("manifest", &["digest", "media_type", "strict_json"]),
    ("version", &["name"]),
    ("package", &["digest", "media_type", "name", "strict_json", "version"]),
    ("access", &["name"]),
    ("token", &["access", "digest"]),
    ("issuers", &["access", "name", "token"]),
    ("config", &["access"]),
    ("client", &["config", "digest", "media_type", "package"]),
    // Bytes and rows.
    ("staging", &["digest"]),
    ("blob", &["digest", "fault", "staging"]),
    ("meta", &["access", "digest", "fault", "manifest", "name", "package", "staging", "version"]),
    // The use cases.
    ("callers", &["access", "digest", "issuers", "meta", "token"]),
    (
        "registry",
        &[
            "access",
            "blob",
            "digest",
            "manifest",
            "media_type",
            "meta",
            "name",
            "package",
            "staging",
            "token",
            "version",
        ],
    ),
    // The outside.
    ("telemetry", &["blob", "config", "meta", "registry"]),
    (
        "http",
        &[
            "access",
            "blob",
            "callers",
            "digest",
            "manifest",
            "media_type",
            "meta",
            "name",
            "package",
            "registry",
            "staging",
            "strict_json",
            "telemetry",
            "token",
            "version",
        ],
    ),
    (
        "app",
        &[
            "access",
            "blob",
            "callers",
            "config",
            "digest",
            "http",
            "issuers",
            "meta",
            "node_id",
            "registry",
            "staging",
            "telemetry",
            "token",
        ],
    ),
    (
        "cli",
        &[
            "access",
            "app",
            "client",
            "config",
            "digest",
            "issuers",
            "name",
            "package",
            "telemetry",
            "version",
        ],
    ),
];

/// Where a third-party crate may be named. A crate that is not listed is allowed nowhere.
const FENCES: &[(&str, &[&str])] = &[
    ("anstream", &["cli/", "main.rs"]),
    ("anyhow", &["main.rs"]),
    ("async_trait", &["blob/", "meta/", "staging.rs", "http/request_body.rs", "http/multipart/"]),
    ("aws_config", &["blob/s3/"]),
    ("aws_credential_types", &["blob/s3/"]),
    ("aws_lc_rs", &["token/"]),
    ("aws_runtime", &["blob/s3/"]),
    ("aws_sdk_s3", &["blob/s3/"]),
    ("aws_smithy_http_client", &["blob/s3/"]),
    ("aws_smithy_runtime_api", &["blob/s3/"]),
    ("aws_smithy_types", &["blob/s3/"]),
    ("base64", &["token/", "client/auth_file.rs", "issuers/", "http/"]),
    (
        "bytes",
        &["blob/", "registry/", "staging.rs", "client/upload.rs", "http/", "package/structure/source.rs"],
    ),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/completions.rs"]),
    ("clap_mangen", &["cli/man.rs"]),
    ("crc32fast", &["package/pack/", "package/structure/", "token/api.rs"]),
    ("deadpool_postgres", &["meta/postgres/"]),
    ("flate2", &["package/structure/"]),
    ("governor", &["http/rates.rs"]),
    ("http", &["http/", "config.rs"]),
    ("http_body", &["blob/s3/", "client/upload.rs", "http/"]),
    ("http_body_util", &["http/"]),
    ("hyper", &["http/"]),
    ("hyper_util", &["http/"]),
    ("icu_casemap", &["package/structure/"]),
    ("icu_normalizer", &["package/structure/"]),
    ("icu_properties", &["package/structure/"]),
    ("ignore", &["package/pack/"]),
    ("indicatif", &["cli/push.rs"]),
    ("jiff", &["http/"]),
    ("jsonwebtoken", &["token/", "issuers/"]),
    ("memchr", &["http/multipart/"]),
    (
        "metrics",
        &[
            "telemetry.rs",
            "blob/local.rs",
            "blob/s3/",
            "blob/tiered/",
            "http/serve.rs",
            "meta/postgres/mod.rs",
            "meta/sqlite/mod.rs",
            "registry/mod.rs",
            "registry/sync/",
        ],
    ),
    ("metrics_exporter_prometheus", &["telemetry.rs"]),
    ("miniz_oxide", &["package/pack/"]),
    ("moka", &["callers/", "http/api/kept.rs", "registry/"]),
    ("percent_encoding", &["http/", "meta/postgres/", "package/readme_html/"]),
    ("pulldown_cmark", &["package/readme_html/"]),
    // hyper serves, reqwest asks: it brings TLS, connections that are kept and limits, wherever something is asked.
    ("reqwest", &["client/", "http/forward/", "issuers/"]),
    ("rpassword", &["cli/login.rs"]),
    ("ruff_python_ast", &["package/python/"]),
    ("ruff_python_parser", &["package/python/"]),
    ("ruff_text_size", &["package/python/"]),
    ("rusqlite", &["meta/sqlite/"]),
    ("rustix", &["blob/file_body.rs", "cli/serve.rs", "package/pack/", "staging.rs"]),
    ("rustls", &["meta/postgres/"]),
    ("rustls_platform_verifier", &["meta/postgres/"]),
    ("sd_notify", &["cli/serve.rs"]),
    (
        "serde",
        &[
            "manifest.rs",
            "strict_json.rs",
            "meta/plugin_store.rs",
            "package/",
            "registry/packages.rs",
            "token/short.rs",
            "cli/remote.rs",
            "client/",
            "issuers/",
            "http/",
        ],
    ),
    (
        "serde_json",
        &[
            "manifest.rs",
            "strict_json.rs",
            "package/",
            "client/",
            "issuers/",
            "meta/plugin_store.rs",
            "meta/postgres/",
            "meta/sqlite/",
            "registry/packages.rs",
            "registry/plans.rs",
            "http/",
            "cli/",
        ],
    ),
    ("serde_json_canonicalizer", &["package/"]),
    ("sha2", &["digest.rs"]),
    ("strsim", &["config.rs"]),
    ("strum", &["http/route/", "package/structure/rule.rs"]),
    ("subtle", &["token/"]),
    ("tempfile", &["cli/pack.rs", "cli/plugins/file.rs", "client/upload_memory.rs"]),
    ("thiserror", &[""]),
    (
        "tokio",
        &[
            "app.rs",
            "app/",
            "blob/",
            "callers/",
            "cli/migrate.rs",
            "cli/remote.rs",
            "cli/serve.rs",
            "client/credential_helper.rs",
            "client/patience.rs",
            "http/",
            "issuers/",
            "meta/faulty.rs",
            "meta/feed.rs",
            "meta/postgres/",
            "meta/sqlite/",
            "registry/",
            "staging.rs",
        ],
    ),
    ("tokio_postgres", &["meta/postgres/", "telemetry.rs"]),
    ("tokio_postgres_rustls", &["meta/postgres/"]),
    ("toml", &["config.rs", "issuers/config.rs"]),
    ("tracing", &[""]),
    ("tracing_subscriber", &["telemetry.rs"]),
    (
        "uuid",
        &[
            "app.rs",
            "blob/local.rs",
            "blob/s3/",
            "callers/",
            "http/",
            "meta/",
            "node_id.rs",
            "registry/",
            "staging.rs",
        ],
    ),
];

/// Source files below a folder, with their path inside of it.
fn sources(folder: &str) -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let base = Path::new(ROOT).join(folder);
    let mut found = Vec::new();
    if base.is_dir() {
        walk(&base, &mut found);
    }
    let name = |path: &PathBuf| path.strip_prefix(&base).unwrap().display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Source files of the program, without those that hold nothing but tests.
fn program() -> impl Iterator<Item = (String, String)> {
    let only_tests = |file: &str| file.ends_with("/tests.rs") || file.ends_with("/testing.rs");
    sources("src").into_iter().filter(move |(file, _)| !only_tests(file))
}

/// The code of a file: without comments, and without its tests, which may name what they like.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Identifiers that stand right before `::`, at the start of a path.
fn roots_of_paths(code: &str) -> Vec<&str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices("::")
        .filter_map(|(end, _)| {
            let start = code[..end].rfind(|c| !word(c)).map_or(0, |before| before + 1);
            let inner = code[..start].ends_with("::") || code[..start].ends_with('.');
            (start < end && !inner).then(|| &code[start..end])
        })
        .collect()
}

/// The modules of this crate that a text names.
fn modules(code: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let outside = code[..at].ends_with('$') || code[..at].ends_with(|c: char| c.is_alphanumeric());
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if !outside && end > 0 {
            named.push(&rest[..end]);
        }
    }
    named
}

fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

#[test]
fn layers_point_one_way() {
    let mut wrong = Vec::new();
    for (file, text) in program() {
        let module = module_of(&file);
        if ["main", "lib"].contains(&module) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{file}: the module {module} is in no layer"));
            continue;
        };
        for named in modules(&code(&text)) {
            if named != module && !allowed.contains(&named) {
                wrong.push(format!("{file}: {module} may not know {named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_layer_table_has_no_circle() {
    for (index, (module, allowed)) in LAYERS.iter().enumerate() {
        for below in *allowed {
            let stands_before = LAYERS[..index].iter().any(|(name, _)| name == below);
            assert!(stands_before, "{module} names {below}, which does not stand above it in the table");
        }
    }
}

#[test]
fn crates_stay_inside_their_fences() {
    let mut wrong = Vec::new();
    for (file, text) in program() {
        for root in roots_of_paths(&code(&text)) {
            if let Some((_, places)) = FENCES.iter().find(|(name, _)| *name == root)
                && !places.iter().any(|place| file.starts_with(place))
            {
                wrong.push(format!("{file} names {root}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_dependency_has_a_fence() {
    let manifest: toml::Table = fs::read_to_string(format!("{ROOT}/Cargo.toml")).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let names: Vec<String> = dependencies.keys().map(|name| name.replace('-', "_")).collect();
    for name in &names {
        assert!(FENCES.iter().any(|(fenced, _)| fenced == name), "{name} has no fence");
    }
    for (fenced, _) in FENCES {
        assert!(names.iter().any(|name| name == fenced), "{fenced} is fenced but no dependency");
    }
}

#[test]
fn files_open_with_what_they_hold_and_stay_short() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        for (file, text) in sources(folder) {
            let first = text.lines().next().unwrap_or_default();
            if !first.starts_with("//! ") || first.len() < 20 {
                wrong.push(format!("{folder}/{file} does not open with a `//!` sentence"));
            }
            if text.lines().count() > LONGEST_FILE {
                wrong.push(format!("{folder}/{file} has more than {LONGEST_FILE} lines: a noun is missing"));
            }
            for vague in ["utils", "util", "helpers", "common", "misc", "types", "models"] {
                if file.split(['/', '.']).any(|part| part == vague) {
                    wrong.push(format!("{folder}/{file}: the name says nothing"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_test_is_forgotten() {
    for folder in ["tests/suite", "tests/interop"] {
        let files = sources(folder);
        let main = &files["main.rs"];
        for file in files.keys().filter(|file| *file != "main.rs") {
            let module = module_of(file);
            assert!(main.contains(&format!("mod {module};")), "{folder}/{file} is in no test binary");
        }
    }
}

#[test]
fn every_promise_has_tests_that_name_it() {
    let texts: Vec<String> =
        ["src", "tests"].iter().flat_map(|folder| sources(folder).into_values()).collect();
    // A test names its promises at the start of its description: `/// P1, P2: what it shows`.
    let named: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim_start().strip_prefix("/// P")?.split_once(':'))
        .flat_map(|(promises, _)| promises.split([',', ' ', 'P']))
        .collect();
    for promise in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"] {
        assert!(named.contains(&promise), "no test names P{promise}");
    }
}

/// The map names files and code in backticks. What it names must exist, or it leads a reader astray.
#[test]
fn the_architecture_page_names_what_exists() {
    let page = fs::read_to_string(format!("{ROOT}/ARCHITECTURE.md")).unwrap();
    let files = sources("src");
    let all: String = files.values().map(String::as_str).collect();
    let mut checked = 0;
    for named in page.split('`').skip(1).step_by(2) {
        let exists = if named.ends_with(".rs") {
            Path::new(ROOT).join(named).is_file() || files.contains_key(named)
        } else if let Some((_, last)) = named.rsplit_once("::") {
            all.contains(last)
        } else if !named.is_empty() && named.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()) {
            all.contains(named) || sources("tests").values().any(|text| text.contains(named))
        } else {
            continue;
        };
        assert!(exists, "ARCHITECTURE.md names `{named}`, which does not exist");
        checked += 1;
    }
    assert!(checked > 40, "only {checked} names were found");
}
