//! Who silt is to Azure.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::classify::is_passing;

/// How requests are authorized.
#[derive(Clone)]
pub enum Access {
    /// With the account's key.
    SharedKey(Secret),
    /// With a shared access signature: the query of a URL.
    Sas(String),
    /// With a token of Entra ID.
    Token(Arc<dyn TokenCredential>),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedKey(_) => "shared key",
            Self::Sas(_) => "shared access signature",
            Self::Token(_) => "Entra ID",
        })
    }
}

/// What the environment says of an Entra ID identity.
#[derive(Clone, Debug, Default)]
pub struct EntraIdentity {
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Secret>,
    /// `AZURE_FEDERATED_TOKEN_FILE`, which workload identity mounts into a pod.
    pub federated_token_file: Option<String>,
}

/// The credentials that an identity allows, in the order in which they are tried: workload identity,
/// client secret, managed identity, the developer's CLI login.
///
/// # Errors
///
/// The SDK refuses what the identity says.
pub fn entra(identity: &EntraIdentity) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let EntraIdentity {
        tenant_id,
        client_id,
        client_secret,
        federated_token_file,
    } = identity;
    let mut chain: Vec<(&'static str, Arc<dyn TokenCredential>)> = Vec::new();
    // All that is set comes first.
    if let (Some(tenant), Some(client), Some(file)) = (tenant_id, client_id, federated_token_file) {
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: once(),
            },
            tenant_id: Some(tenant.clone()),
            client_id: Some(client.clone()),
            token_file_path: Some(file.into()),
        };
        chain.push((
            "workload identity",
            WorkloadIdentityCredential::new(Some(options))?,
        ));
    }
    if let (Some(tenant), Some(client), Some(secret)) = (tenant_id, client_id, client_secret) {
        let options = ClientSecretCredentialOptions {
            client_options: once(),
        };
        let (client, secret) = (client.clone(), secret.clone());
        let secret = ClientSecretCredential::new(tenant, client, secret, Some(options))?;
        chain.push(("client secret", secret));
    }
    let set = chain.len();
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
        ..Default::default()
    };
    chain.push((
        "managed identity",
        ManagedIdentityCredential::new(Some(options))?,
    ));
    chain.push(("developer login", DeveloperToolsCredential::new(None)?));
    Ok(Arc::new(Chain {
        links: chain,
        set,
        chosen: OnceLock::new(),
    }))
}

/// The state machine retries, as it does the lake's requests: so an outage isn't taken for the lake's silence.
fn once() -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    }
}

/// The first credential that gives a token is used from then on.
#[derive(Debug)]
struct Chain {
    links: Vec<(&'static str, Arc<dyn TokenCredential>)>,
    /// So many are set; the others are there to be tried, and that nobody answers there says nothing.
    set: usize,
    chosen: OnceLock<usize>,
}

#[async_trait]
impl TokenCredential for Chain {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if let Some((_, credential)) = self.chosen.get().and_then(|at| self.links.get(*at)) {
            return credential.get_token(scopes, options).await;
        }
        let mut refusals = Vec::new();
        for (at, (name, credential)) in self.links.iter().enumerate() {
            match credential.get_token(scopes, options.clone()).await {
                Ok(token) => {
                    // Two first requests may race; either choice is good.
                    let _ = self.chosen.set(at);
                    return Ok(token);
                }
                // Another identity must not be taken for good because the way to this one is cut.
                Err(error) if at < self.set && is_passing(&error) => return Err(error),
                Err(error) => {
                    let text = error.to_string();
                    refusals.push(format!(
                        "{name}: {}",
                        text.lines().next().unwrap_or_default()
                    ));
                }
            }
        }
        let message = format!(
            "no Entra ID credential gives a token ({})",
            refusals.join("; ")
        );
        Err(azure_core::Error::with_message(
            ErrorKind::Credential,
            message,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives no token, for a reason of this kind.
    #[derive(Debug)]
    struct Refusing(ErrorKind);

    #[async_trait]
    impl TokenCredential for Refusing {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let inner = azure_core::Error::with_message(self.0.clone(), "none");
            Err(azure_core::Error::with_error(
                ErrorKind::Credential,
                inner,
                "it fails",
            ))
        }
    }

    #[tokio::test]
    async fn only_what_is_set_can_be_held_up() {
        let refused = ErrorKind::Credential;
        for (kinds, set, expected) in [
            ([ErrorKind::Connection, refused.clone()], 1, true),
            ([refused.clone(), ErrorKind::Connection], 1, false),
            ([ErrorKind::Connection, refused.clone()], 0, false),
        ] {
            let link = |kind| -> (&'static str, Arc<dyn TokenCredential>) {
                ("one", Arc::new(Refusing(kind)))
            };
            let chain = Chain {
                links: kinds.map(link).into(),
                set,
                chosen: OnceLock::new(),
            };
            let error = chain.get_token(&["scope"], None).await.unwrap_err();
            assert_eq!(is_passing(&error), expected, "{error:?}");
        }
    }
}
