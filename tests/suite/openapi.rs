//! The description of the API against the routes: neither has anything that the other does not have.

use std::collections::{BTreeSet, HashSet};

use hyper::Method;
use quire::http::route::{Route, RouteError, RouteName};
use serde_json::Value;
use strum::IntoEnumIterator;

const DOCUMENT: &str = include_str!("../../spec/openapi.json");

/// The routes that are not below `/api/`. Some of them are described as well.
const ELSEWHERE: [RouteName; 21] = [
    RouteName::Base,
    RouteName::Token,
    RouteName::Catalog,
    RouteName::GetImmutable,
    RouteName::GetBlob,
    RouteName::DeleteBlob,
    RouteName::GetManifest,
    RouteName::PutManifest,
    RouteName::DeleteManifest,
    RouteName::ListTags,
    RouteName::TagHistory,
    RouteName::ListReferrers,
    RouteName::StartUpload,
    RouteName::GetUpload,
    RouteName::AppendUpload,
    RouteName::FinishUpload,
    RouteName::CancelUpload,
    RouteName::Live,
    RouteName::Ready,
    RouteName::Metrics,
    RouteName::ProveNode,
];

const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "options", "trace"];

/// What stands for the parameters of a path.
const PARAMETERS: [(&str, &str); 12] = [
    ("{org}", "acme"),
    ("{catalog}", "acme"),
    ("{plugin}", "0198f3c5-7a61-7c39-9d5e-3f1b0a9c2d44"),
    ("{pid}", "com.acme.hello"),
    ("{id}", "0198f3c5-7a61-7c39-9d5e-3f1b0a9c2d44"),
    ("{version}", "1.0.0"),
    ("{path}", "src/main.py"),
    ("{source}", "org"),
    ("{digest}", "sha256:9b0d4b6f7b3b0f8a1f62b2ed1e6a5f4c8a6f9f6f3d1c5e7b8a9d0c1b2a3f4e5d"),
    ("{hex}", "9b0d4b6f7b3b0f8a1f62b2ed1e6a5f4c8a6f9f6f3d1c5e7b8a9d0c1b2a3f4e5d"),
    ("{name}", "acme/tool"),
    ("{tag}", "stable"),
];

/// Every required parameter of a query.
const QUERY: &str = "action=pull&repository=acme/tool&from=1.0&to=1.1";

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// The described paths, each with its methods.
fn paths(document: &Value) -> Vec<(String, BTreeSet<String>)> {
    let methods = |item: &Value| {
        let described = METHODS.iter().filter(|method| item.get(**method).is_some());
        described.map(|method| method.to_uppercase()).collect()
    };
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

fn route(method: &str, path: &str) -> Result<Route, RouteError> {
    let mut filled = path.to_owned();
    for (parameter, value) in PARAMETERS {
        filled = filled.replace(parameter, value);
    }
    assert!(!filled.contains('{'), "{path} has a parameter that this test does not know");
    Route::parse(&method.parse::<Method>().unwrap(), &format!("{filled}?{QUERY}").parse().unwrap())
}

#[test]
fn every_route_of_the_api_is_described_and_nothing_else() {
    let mut described: HashSet<RouteName> = HashSet::new();
    for (path, methods) in paths(&document()) {
        for method in METHODS.map(str::to_uppercase) {
            let route = route(&method, &path);
            if methods.contains(&method) {
                let route = route.unwrap_or_else(|error| panic!("{method} {path} is described: {error:?}"));
                described.insert(RouteName::from(&route));
                continue;
            }
            let Err(RouteError::Method { allow }) = route else {
                panic!("{method} {path} is not described, and it is {route:?}");
            };
            let allowed: BTreeSet<&str> = allow.split(", ").collect();
            let head = methods.contains("GET").then_some("HEAD");
            let expected: BTreeSet<&str> = methods.iter().map(String::as_str).chain(head).collect();
            assert_eq!(allowed, expected, "{path}");
        }
    }
    let missing: Vec<RouteName> =
        RouteName::iter().filter(|name| !described.contains(name) && !ELSEWHERE.contains(name)).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
}

/// Whoever keeps the system's plugins has the same routes as an organisation.
#[test]
fn what_is_described_of_organisations_is_described_of_the_system() {
    let paths = paths(&document());
    let below = |prefix: &str| -> BTreeSet<(String, BTreeSet<String>)> {
        let found = paths.iter().filter_map(|(path, methods)| {
            path.strip_prefix(prefix).map(|rest| (rest.to_owned(), methods.clone()))
        });
        found.collect()
    };
    assert_eq!(below("/api/orgs/{org}/plugins"), below("/api/admin/plugins"));
    assert!(below("/api/admin/plugins").len() > 10);
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name() {
    let document = document();
    let (mut references, mut names) = (0, HashSet::new());
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let place = reference.strip_prefix('#').expect("a place in the document");
                    assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
                    references += 1;
                }
                if fields.contains_key("responses") && fields.contains_key("summary") {
                    let name = fields.get("operationId").and_then(Value::as_str).expect("a name");
                    assert!(names.insert(name), "{name} names two operations");
                }
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    assert!(references > 300 && names.len() > 50, "{references} {}", names.len());
}
