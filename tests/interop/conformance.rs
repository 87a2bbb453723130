//! The official conformance suite of the OCI distribution specification.

use std::collections::BTreeMap;

use crate::harness::{ADMIN_TOKEN, Server};
use crate::tools::{Desk, finish, transcript};

#[test]
fn version_1_1_without_a_failure_or_a_skip() {
    let Some(report) = run("1.1") else { return };
    let disabled: Vec<_> = report.with("Disabled");
    // What 1.1 does not have yet, and the suite therefore leaves out.
    let later = [
        "Blob upload cancel",
        "Manifest put with tag params",
        "Sparse Manifests",
        "Tag Param",
        "Tag Param sha512",
    ];
    assert_eq!(disabled, later);
}

#[test]
fn the_development_version_without_a_failure_or_a_skip() {
    let Some(report) = run("dev") else { return };
    // Manifests whose parts were never pushed are the one thing that the suite leaves out by itself.
    assert_eq!(report.with("Disabled"), ["Sparse Manifests"]);
}

/// What the suite printed: each line that ends a row of dots, by its title.
struct Report(BTreeMap<String, String>);

impl Report {
    fn parse(text: &str) -> Self {
        let (_, report) = text.split_once("OCI Conformance Result").expect("a result");
        let rows = report.lines().filter_map(|line| line.rsplit_once(": "));
        let rows = rows.map(|(title, value)| (title.trim().trim_end_matches('.'), value.trim()));
        Self(rows.map(|(title, value)| (title.to_owned(), value.to_owned())).collect())
    }

    fn count(&self, status: &str) -> u32 {
        let count = self.0.get(status).unwrap_or_else(|| panic!("no {status} in {:?}", self.0));
        count.parse().expect("a number")
    }

    /// The titles of the rows with a value, sorted.
    fn with(&self, value: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, of)| *of == value).map(|(title, _)| title.as_str()).collect()
    }
}

fn run(version: &str) -> Option<Report> {
    let server = Server::start(&[]);
    let desk = Desk::new(&server, &["conformance"])?;
    let mut command = desk.command("conformance");
    let address = server.address.to_string();
    for (name, value) in [
        ("REGISTRY", address.as_str()),
        ("TLS", "disabled"),
        ("VERSION", version),
        ("REPO1", "conf/r1"),
        ("REPO2", "conf/r2"),
        ("USERNAME", "anyone"),
        ("PASSWORD", ADMIN_TOKEN),
        ("RESULTS_DIR", "results"),
    ] {
        command.env(format!("OCI_{name}"), value);
    }
    let output = finish(command, "");
    let text = transcript(&output);
    assert!(output.status.success(), "{text}");
    let report = Report::parse(&text);
    let counts = ["Pass", "FAIL", "Error", "Skip", "Disabled"].map(|status| report.count(status));
    let [pass, failed, errors, skipped, disabled] = counts;
    println!(
        "conformance {version}: {pass} passed, {failed} failed, {errors} errors, {skipped} skipped, \
         {disabled} disabled"
    );
    assert_eq!([failed, errors, skipped], [0; 3], "{text}");
    assert!(pass > 800, "only {pass} passed");
    let odd = ["FAIL", "Error", "Skip", "Unknown"].map(|status| report.with(status)).concat();
    assert!(odd.is_empty(), "{odd:?}");
    // The suite also ends well when it could not write its reports.
    assert!(desk.path("results/junit.xml").is_file());
    Some(report)
}
