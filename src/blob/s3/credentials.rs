//! Where the credentials come from, and what is remembered of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::Region;

use super::failure::with_causes;

/// Where the credentials come from. It may hold a secret, so it cannot be printed.
#[derive(Clone)]
pub enum CredentialSource {
    /// The AWS chain: variables, profiles, web identities, containers, instances.
    Chain,
    /// These, for tests.
    Fixed { key_id: String, secret: String },
}

/// Why there are no credentials.
pub enum NoCredentials {
    /// No source has any, or what it has cannot be used.
    Missing(String),
    /// A source has some and does not answer right now.
    NotNow(String),
}

/// A provider that remembers which credentials it gave last.
#[derive(Debug, Clone)]
pub struct KnownCredentials {
    inner: SharedCredentialsProvider,
    last: Arc<Mutex<Option<Credentials>>>,
}

impl CredentialSource {
    pub async fn provider(&self, region: Region) -> KnownCredentials {
        let inner = match self {
            Self::Chain => SharedCredentialsProvider::new(
                DefaultCredentialsChain::builder().region(region).build().await,
            ),
            Self::Fixed { key_id, secret } => {
                let fixed = Credentials::new(key_id, secret, None, None, "fixed");
                SharedCredentialsProvider::new(fixed)
            }
        };
        KnownCredentials { inner, last: Arc::default() }
    }

    /// The region of the AWS configuration. Instances are asked only where the bucket can be at AWS.
    pub async fn region(&self, at_aws: bool) -> Option<Region> {
        match self {
            Self::Chain if at_aws => DefaultRegionChain::builder().build().region().await,
            Self::Chain | Self::Fixed { .. } => None,
        }
    }
}

impl KnownCredentials {
    /// Fetches credentials, so that a start knows whether there are any.
    pub async fn first(&self, patience: Duration) -> Result<(), NoCredentials> {
        match tokio::time::timeout(patience, self.provide_credentials()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match error {
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                    NoCredentials::Missing(with_causes(&error))
                }
                _ => NoCredentials::NotNow(with_causes(&error)),
            }),
            Err(_) => Err(NoCredentials::NotNow(format!("no credentials within {patience:?}"))),
        }
    }

    /// When the credentials that were given last end; `None`: never.
    pub fn expiry(&self) -> Option<SystemTime> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Credentials::expiry)
    }

    /// The key and where it came from. No secret is in it.
    pub fn describe(&self) -> String {
        match &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            None => "no credentials yet".to_owned(),
            Some(credentials) => format!("key {} of {}", credentials.access_key_id(), source_of(credentials)),
        }
    }

    async fn provide(&self) -> provider::Result {
        let credentials = self.inner.provide_credentials().await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials.clone());
        Ok(credentials)
    }
}

impl ProvideCredentials for KnownCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

/// The kind of source, as the providers mark it.
fn source_of(credentials: &Credentials) -> &'static str {
    use AwsCredentialFeature as Feature;
    let features = credentials.get_property::<Vec<Feature>>().map_or(&[][..], Vec::as_slice);
    let known = features.iter().find_map(|feature| match feature {
        Feature::CredentialsEnvVars => Some("the environment"),
        Feature::CredentialsProfile
        | Feature::CredentialsProfileSourceProfile
        | Feature::CredentialsProfileNamedProvider
        | Feature::CredentialsProfileStsWebIdToken
        | Feature::CredentialsProfileProcess => Some("a profile"),
        Feature::CredentialsEnvVarsStsWebIdToken | Feature::CredentialsStsAssumeRoleWebId => {
            Some("a web identity")
        }
        Feature::CredentialsHttp => Some("the container"),
        Feature::CredentialsImds => Some("the instance"),
        _ => None,
    });
    known.unwrap_or("another source")
}
