//! Uploading a plugin: a form of a browser, or the bytes themselves.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{Desk, Shown};
use crate::access::Requester;
use crate::http::api::json;
use crate::http::error::ApiError;
use crate::http::multipart::{FormFile, MultipartError};
use crate::http::problem::Finding;
use crate::http::reply::{Freshness, Reply};
use crate::http::request_body::RequestBody;
use crate::http::route::{UploadQuery, View};
use crate::package;
use crate::registry::{PluginUpload, Refusal, RegistryError, UploadedPlugin, settings};
use crate::staging::Source;

/// What a form may have around its file.
const FORM_OVERHEAD: u64 = 64 * 1024;
/// Types under which a zip is sent as it is.
const ZIP_TYPES: [&str; 3] = ["application/zip", "application/x-zip-compressed", "application/octet-stream"];

#[derive(Serialize)]
struct Uploaded<'a> {
    message: String,
    org_id: Option<&'a str>,
    #[serde(flatten)]
    plugin: Shown,
    /// Findings that did not keep it out.
    warnings: Vec<package::Finding>,
    settings_change: Option<SettingsChange>,
}

/// What became of the settings since the version before.
#[derive(Serialize)]
pub struct SettingsChange {
    pub since: String,
    pub verdict: &'static str,
    pub reasons: Vec<String>,
}

impl SettingsChange {
    pub fn between(since: String, before: &str, after: &str) -> Self {
        match package::verdict(&settings(before), &settings(after)) {
            package::Verdict::Compatible => Self { since, verdict: "compatible", reasons: Vec::new() },
            package::Verdict::Breaking { reasons } => Self { since, verdict: "breaking", reasons },
        }
    }
}

impl Desk<'_> {
    pub async fn upload(
        &self,
        requester: &Requester,
        view: &View,
        query: UploadQuery,
        headers: &HeaderMap,
        mut body: RequestBody,
    ) -> Result<Reply, ApiError> {
        self.check_view(view).await?;
        let content_type = headers.get(CONTENT_TYPE);
        let essence = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let raw = ZIP_TYPES.contains(&&*essence);
        let limit = self.registry.limits().max_plugin_bytes;
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let most = if raw { limit } else { limit.saturating_add(FORM_OVERHEAD) };
        if announced.is_some_and(|length| length > most) {
            return Err(ApiError::Refused(Refusal::PackageTooLarge { limit }));
        }
        let uploaded = if raw {
            self.take(requester, view, query, None, &mut body).await?
        } else if essence == "multipart/form-data" {
            let mut file = FormFile::open(content_type, body).await.map_err(form_error)?;
            let name = file.name().map(str::to_owned);
            let taken = self.take(requester, view, query, name, &mut file).await;
            match (taken, file.fault()) {
                (Ok(uploaded), _) => uploaded,
                (Err(RegistryError::Refused(Refusal::Body(_))), Some(fault)) => {
                    return Err(form_error(fault));
                }
                (Err(error), _) => return Err(error.into()),
            }
        } else {
            let reason = "is multipart/form-data with a field named file, or application/zip";
            return Err(ApiError::BadHeader { name: "Content-Type", reason });
        };
        Ok(self.uploaded(view, uploaded))
    }

    async fn take(
        &self,
        requester: &Requester,
        view: &View,
        query: UploadQuery,
        file_name: Option<String>,
        source: &mut dyn Source,
    ) -> Result<UploadedPlugin, RegistryError> {
        let UploadQuery { digest, channels } = query;
        let upload = PluginUpload { catalog: view.catalog(), file_name, digest, channels, source };
        self.registry.upload_plugin(requester, upload).await
    }

    fn uploaded(&self, view: &View, uploaded: UploadedPlugin) -> Reply {
        let UploadedPlugin { record, made, warnings, previous } = uploaded;
        let (pid, version) = (record.repository.without_catalog(), &record.version);
        let (status, message) = match made {
            true => (StatusCode::CREATED, format!("{pid} {version} is published")),
            false => (StatusCode::OK, format!("{pid} {version} was published before with the same bytes")),
        };
        let settings_change = previous.map(|previous| {
            SettingsChange::between(previous.version.to_string(), &previous.metadata, &record.metadata)
        });
        let org_id = match view {
            View::Organisation(id) => Some(&**id),
            View::System => None,
        };
        let plugin = Shown::of(self, view, &record);
        let location = format!("{}/{}", view.path(), record.id);
        let body = Uploaded { message, org_id, plugin, warnings, settings_change };
        let mut reply = json(status, &body, Freshness::Write);
        reply.header(LOCATION, location);
        reply
    }
}

fn form_error(error: MultipartError) -> ApiError {
    match error {
        MultipartError::Source(error) => ApiError::Refused(Refusal::Body(error)),
        error => ApiError::Invalid(vec![Finding::new("form", "", error)]),
    }
}
