//! Connecting: what a start finds out about a bucket, and what it says where it cannot be used.

use std::process::Command;
use std::time::{Duration, Instant};

use quire::blob::BlobError;
use quire::blob::far::FarStore;
use quire::blob::s3::Operation::{Delete, Get, Put};
use quire::blob::s3::{CredentialSource, S3Counters, S3Settings, S3Store, S3Tuning, S3Unusable};
use quire::digest::Sha256;
use tokio::net::TcpListener;

use super::{Fixture, connect, is_unavailable, key, stage, staging, until};
use crate::harness::s3_stub::{Fault, Manners, Stub, Treatment};
use crate::harness::seaweed::settings;

#[tokio::test]
async fn the_probe_tells_what_it_found_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let store = connect(fixture.settings(), S3Tuning::default()).await.unwrap();
    let expected = format!(
        "S3 bucket \"quire-tests\" at http://{} below \"p/\", region us-east-1, path style (key quire-test-key of \
         another source): checksums are compared, conditions are honoured",
        fixture.stub.address
    );
    assert_eq!(store.describe(), expected);
    assert_eq!(fixture.stub.keys(), [""; 0]);
    let seen = fixture.stub.seen();
    assert!(seen.len() <= 8, "a start is short: {}", seen.len());
    assert!(seen.iter().all(|seen| seen.header("content-encoding").is_none()));
}

#[tokio::test]
async fn what_a_server_does_not_do_is_found() {
    let ignores =
        Manners { conditions: Treatment::Ignores, checksums: Treatment::Ignores, ..Manners::default() };
    let store = Fixture::with(ignores).await.store().await;
    assert!(
        store.describe().ends_with("checksums are ignored, conditions are ignored"),
        "{}",
        store.describe()
    );

    for (status, code) in [(400, "InvalidRequest"), (501, "NotImplemented"), (400, "InvalidDigest")] {
        let refuses = Manners { checksums: Treatment::Refuses(status, code), ..Manners::default() };
        let fixture = Fixture::with(refuses).await;
        let store = fixture.store().await;
        assert!(store.describe().contains("checksums are refused and not sent"), "{}", store.describe());
        store.put(&fixture.stage("plain").await).await.unwrap();
        assert_eq!(fixture.stub.seen()[0].header("x-amz-checksum-sha256"), None);
        assert_eq!(fixture.stub.object(&key(b"plain")).unwrap(), "plain");
    }
}

/// Servers that break over something optional are not taken for servers that are down.
#[tokio::test]
async fn a_server_that_breaks_over_something_optional_is_used_without() {
    let breaks = Treatment::Refuses(500, "InternalError");
    let fixture = Fixture::with(Manners { conditions: breaks, ..Manners::default() }).await;
    let store = fixture.store().await;
    assert!(store.describe().contains("conditions are refused and not sent"), "{}", store.describe());
    store.put(&fixture.stage("plain").await).await.unwrap();
    assert_eq!(fixture.stub.seen()[0].header("if-none-match"), None);
}

/// A probe that ended in the middle gives no reason to go without checksums.
#[tokio::test]
async fn what_a_probe_began_to_find_is_found_anew() {
    let fixture = Fixture::new().await;
    fixture.stub.fail(Put, Fault::Answer(400, "InvalidRequest"));
    fixture.stub.fail_times(3, Put, Fault::Answer(503, "SlowDown"));
    let tuning = S3Tuning { probe_every: Duration::ZERO, ..S3Tuning::default() };
    let store = connect(fixture.settings(), tuning).await.unwrap();
    assert!(!store.is_usable());
    store.put(&fixture.stage("abc").await).await.unwrap();
    assert!(store.describe().contains("checksums are compared"), "{}", store.describe());
}

/// Whoever wants no checksums gets none, and bodies are signed all the same.
#[tokio::test]
async fn checksums_can_be_switched_off() {
    let fixture = Fixture::new().await;
    let settings = S3Settings { checksums: false, ..fixture.settings() };
    let store = connect(settings, S3Tuning::default()).await.unwrap();
    assert!(store.describe().contains("checksums are not sent"));
    store.put(&fixture.stage("abc").await).await.unwrap();
    for seen in fixture.stub.seen() {
        assert_eq!(seen.header("x-amz-checksum-sha256"), None);
        if seen.operation == Put {
            assert_eq!(seen.header("x-amz-content-sha256").unwrap().len(), 64);
        }
    }
}

/// Framing that a server keeps in the object would be found; there is none, so such a server does.
#[tokio::test]
async fn a_server_that_keeps_framing_is_given_none() {
    let fixture = Fixture::with(Manners { keeps_framing: true, ..Manners::default() }).await;
    let store = fixture.store().await;
    store.put(&fixture.stage("plain").await).await.unwrap();
    assert_eq!(fixture.stub.object(&key(b"plain")).unwrap(), "plain");
}

#[tokio::test]
async fn a_server_that_changes_bytes_is_refused() {
    let fixture = Fixture::new().await;
    fixture.stub.fail_times(2, Put, Fault::WrongBytes);
    let error = connect(fixture.settings(), S3Tuning::default()).await.err().unwrap();
    assert!(matches!(&error, S3Unusable::Unfit { .. }), "{error:?}");
    assert!(error.to_string().contains("other bytes than those that were written"), "{error}");
}

#[tokio::test]
async fn refusals_are_told_by_their_code() {
    for (status, code) in [
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "ExpiredToken"),
    ] {
        let fixture =
            Fixture::with(Manners { denies: Some((Put, status, code)), ..Manners::default() }).await;
        let error = connect(fixture.settings(), S3Tuning::default()).await.err().unwrap();
        assert!(matches!(&error, S3Unusable::Refused { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(code) && text.contains("quire-tests") && text.contains("quire-test-key"),
            "{text}"
        );
    }
}

/// A wrong region is no matter of credentials: nobody should go on without S3 because of it.
#[tokio::test]
async fn a_wrong_region_is_told() {
    let denies = Some((Put, 400, "AuthorizationHeaderMalformed"));
    let fixture = Fixture::with(Manners { denies, ..Manners::default() }).await;
    let error = connect(fixture.settings(), S3Tuning::default()).await.err().unwrap();
    assert!(matches!(&error, S3Unusable::Unfit { .. }), "{error:?}");
    assert!(error.to_string().contains("AuthorizationHeaderMalformed"), "{error}");
}

/// To those who may not list, S3 says of what is absent that they may not see it.
#[tokio::test]
async fn a_policy_without_lists_is_refused_with_a_hint() {
    let fixture = Fixture::with(Manners { hides_absence: true, ..Manners::default() }).await;
    let error = connect(fixture.settings(), S3Tuning::default()).await.err().unwrap();
    assert!(matches!(&error, S3Unusable::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("allow s3:ListBucket"), "{error}");
}

#[tokio::test]
async fn a_policy_without_removal_is_told_and_does() {
    let denies = Some((Delete, 403, "AccessDenied"));
    let fixture = Fixture::with(Manners { denies, ..Manners::default() }).await;
    let store = fixture.store().await;
    assert!(store.describe().contains("objects cannot be removed"), "{}", store.describe());
    store.put(&fixture.stage("stays").await).await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told() {
    let fixture = Fixture::new().await;
    let settings = S3Settings { bucket: "nowhere".to_owned(), ..fixture.settings() };
    let error = connect(settings, S3Tuning::default()).await.err().unwrap();
    assert!(matches!(&error, S3Unusable::NoBucket { .. }), "{error:?}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

/// A server that is down does not keep a start from succeeding, and is used as soon as it is up.
#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_used_when_it_is_up() {
    let (_folder, staging) = staging();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let tuning = S3Tuning { probe_every: Duration::from_millis(100), ..S3Tuning::default() };
    let store = connect(settings(address, "p/"), tuning).await.unwrap();
    assert!(!store.is_usable());
    assert!(store.describe().ends_with("no answer yet"), "{}", store.describe());
    let staged = stage(&staging, "patient").await;
    assert!(is_unavailable(&store.put(&staged).await));
    assert!(is_unavailable(&store.size(&Sha256::of(b"patient")).await));

    let stub = Stub::on(TcpListener::bind(address).await.unwrap(), Manners::default());
    until(async || !is_unavailable(&store.put(&staged).await)).await;
    assert!(store.is_usable());
    assert_eq!(stub.object(&key(b"patient")).unwrap(), "patient");
}

#[tokio::test]
async fn a_server_that_hangs_keeps_no_start_waiting() {
    let fixture = Fixture::new().await;
    fixture.stub.fail_times(100, Put, Fault::Hang);
    let tuning = S3Tuning { start_timeout: Duration::from_millis(500), ..S3Tuning::default() };
    let begun = Instant::now();
    let store = connect(fixture.settings(), tuning).await.unwrap();
    // All attempts together would take six seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!store.is_usable());
}

/// Between two probes calls fail at once, and say why.
#[tokio::test]
async fn a_bucket_that_refuses_later_is_an_error_with_its_reason() {
    let fixture = Fixture::new().await;
    fixture.stub.fail_times(3, Put, Fault::Answer(503, "SlowDown"));
    fixture.stub.fail(Put, Fault::Answer(403, "SignatureDoesNotMatch"));
    let tuning = S3Tuning { probe_every: Duration::from_millis(50), ..S3Tuning::default() };
    let store = connect(fixture.settings(), tuning).await.unwrap();
    assert!(!store.is_usable());
    let digest = Sha256::of(b"x");
    let refused = |error: &BlobError| error.to_string().contains("SignatureDoesNotMatch");
    until(async || store.size(&digest).await.is_err_and(|error| refused(&error))).await;
    // The stub has no more faults, as when the credentials were repaired.
    until(async || store.size(&digest).await.is_ok()).await;
    assert!(fixture.stub.operations().contains(&Get));
}

/// Not a test by itself: connects by the AWS chain in an environment that the others make.
#[test]
#[ignore = "others run it, in processes with an environment of their own"]
fn in_an_environment() {
    let endpoint = std::env::var("TEST_ENDPOINT").expect("an endpoint");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    let settings = S3Settings {
        path_style: std::env::var("TEST_PATH_STYLE").ok().and_then(|text| text.parse().ok()),
        endpoint: Some(endpoint),
        ..settings(([127, 0, 0, 1], 0).into(), "p/")
    };
    let connected = runtime.block_on(S3Store::connect(
        settings,
        &CredentialSource::Chain,
        S3Tuning::default(),
        S3Counters::noop(),
    ));
    match connected {
        Ok(store) => println!("RESULT {}", store.describe()),
        Err(unusable) => println!("RESULT {unusable}"),
    }
    println!("SECONDS {}", begun.elapsed().as_secs());
}

/// What a process with nothing but these variables says, and how long it took.
async fn in_environment(stub: &Stub, variables: &[(&str, &str)]) -> (String, u64) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "s3::connecting::in_an_environment", "--ignored", "--nocapture"]);
    let endpoint = format!("http://{}", stub.address);
    command.env_clear().env("TEST_ENDPOINT", endpoint).envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line =
        |start: &str| text.lines().find_map(|line| line.split_once(start)).map(|(_, rest)| rest.to_owned());
    let seconds = line("SECONDS ").unwrap_or_else(|| panic!("{text}"));
    (line("RESULT ").unwrap(), seconds.parse().unwrap())
}

#[tokio::test]
async fn credentials_come_from_the_environment_or_a_profile() {
    let stub = Stub::start(Manners::default()).await;
    let variables = [("AWS_ACCESS_KEY_ID", "AKIAVARIABLE"), ("AWS_SECRET_ACCESS_KEY", "secret-of-it")];
    let (result, _) = in_environment(&stub, &variables).await;
    assert!(result.contains("(key AKIAVARIABLE of the environment): checksums are compared"), "{result}");
    assert!(!result.contains("secret-of-it"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let text = "[default]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret-of-it\n";
    std::fs::write(&path, text).unwrap();
    let variables = [("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap()), ("AWS_REGION", "eu-west-1")];
    let (result, _) = in_environment(&stub, &variables).await;
    assert!(result.contains("(key AKIAPROFILE of a profile): checksums are compared"), "{result}");
}

/// The name of a host cannot be looked up where there is no network, but a proxy takes any.
#[tokio::test]
async fn a_bucket_in_the_host_is_reached_through_a_proxy() {
    let stub = Stub::start(Manners::default()).await;
    let proxy = format!("http://{}", stub.address);
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIAVARIABLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("HTTP_PROXY", &proxy),
        ("TEST_ENDPOINT", "http://s3.example.test"),
        ("TEST_PATH_STYLE", "false"),
    ];
    let (result, _) = in_environment(&stub, &variables).await;
    assert!(result.contains("virtual-host style") && result.contains("checksums are compared"), "{result}");
    let seen = stub.seen();
    assert!(seen.iter().all(|seen| seen.header("host") == Some("quire-tests.s3.example.test")), "{seen:?}");
}

/// Neither a machine that is no instance nor a profile that is broken keeps a start waiting.
#[tokio::test]
async fn missing_credentials_are_told_within_seconds() {
    let stub = Stub::start(Manners::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let home = ("HOME", folder.path().to_str().unwrap());
    // An instance's address that nobody answers on.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for variables in [
        vec![home, ("AWS_EC2_METADATA_DISABLED", "true")],
        vec![home, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &silent)],
        vec![home, ("AWS_PROFILE", "nowhere"), ("AWS_EC2_METADATA_DISABLED", "true")],
    ] {
        let (result, seconds) = in_environment(&stub, &variables).await;
        assert!(result.starts_with("there are no credentials for S3 bucket \"quire-tests\""), "{result}");
        assert!(seconds < 30, "{seconds} s with {variables:?}");
    }
    assert_eq!(stub.operations(), []);
}
