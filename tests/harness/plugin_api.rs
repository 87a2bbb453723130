//! The API of plugins, as its clients ask it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::package::Package;
use super::{Answer, Client};

/// The plugins of an organisation, and those of the system.
pub const ACME: &str = "/api/orgs/acme/plugins";
pub const SYSTEM: &str = "/api/admin/plugins";

/// A form with one file, and the Content-Type that goes with it.
pub fn form(file_name: &str, content: &[u8]) -> (&'static str, Vec<u8>) {
    let head = format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nbeside it\r\n--frontier\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), content, b"\r\n--frontier--\r\n"].concat();
    ("multipart/form-data; boundary=frontier", body)
}

impl Client {
    /// Uploads a zip as it is.
    pub async fn upload(&self, plugins: &str, zip: impl Into<Bytes>) -> Answer {
        self.upload_with(plugins, "", zip).await
    }

    /// Uploads a zip with a query, `?channel=stable`.
    pub async fn upload_with(&self, plugins: &str, query: &str, zip: impl Into<Bytes>) -> Answer {
        let path = format!("{plugins}/upload{query}");
        self.send("POST", &path, &[("content-type", "application/zip")], zip).await
    }

    /// Uploads a file as a browser does.
    pub async fn upload_form(&self, plugins: &str, file_name: &str, content: &[u8]) -> Answer {
        let (content_type, body) = form(file_name, content);
        self.send("POST", &format!("{plugins}/upload"), &[("content-type", content_type)], body).await
    }

    /// Publishes a package that is not there yet, and returns the plugin.
    pub async fn publish(&self, plugins: &str, package: &Package) -> Value {
        let answer = self.upload(plugins, package.bytes()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// Publishes a version with nothing in it but its metadata.
    pub async fn publish_version(&self, plugins: &str, pid: &str, version: &str) -> Value {
        self.publish(plugins, &Package::new(pid, version)).await
    }

    /// Changes the state of a version, and returns the plugin.
    pub async fn change(&self, plugins: &str, plugin: &Value, change: Value) -> Value {
        let path = format!("{plugins}/{}", plugin["id"].as_str().expect("an id"));
        let answer = self.send("PATCH", &path, &[], change.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// What a path answers with, which has to be there.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        answer.json()
    }

    /// Blocks a digest everywhere.
    pub async fn block(&self, digest: &str, reason: &str) -> Answer {
        let path = format!("/api/admin/blocked-digests/{digest}");
        self.send("PUT", &path, &[], json!({"reason": reason}).to_string()).await
    }

    pub async fn unblock(&self, digest: &str) -> Answer {
        self.delete(&format!("/api/admin/blocked-digests/{digest}")).await
    }
}

/// A field of each object of a list.
pub fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|item| item[field].as_str().unwrap_or_else(|| panic!("{field}: {item}"))).collect()
}
