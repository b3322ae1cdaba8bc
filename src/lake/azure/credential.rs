//! Credentials for Azure.

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

use super::errors::is_transient;

/// How requests are authorized. `Debug` shows the kind and no secret.
#[derive(Clone)]
pub enum Access {
    /// The account's key.
    SharedKey(Secret),
    /// A shared access signature: the query part of a URL.
    Sas(String),
    /// A token of Entra ID.
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

/// The settings of an Entra ID identity.
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
/// The SDK rejects a setting of the identity.
pub fn entra(identity: &EntraIdentity) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let EntraIdentity {
        tenant_id,
        client_id,
        client_secret,
        federated_token_file,
    } = identity;
    let mut chain: Vec<(&'static str, Arc<dyn TokenCredential>)> = Vec::new();
    // What is configured comes first.
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

/// No retries: the state machine retries, as it does requests to the lake. Retries here would exceed the lake's
/// timeout, so that an outage of the login service looked like one of the lake.
fn once() -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    }
}

/// Tries credentials in order, and stays with the first one that gives a token.
#[derive(Debug)]
struct Chain {
    links: Vec<(&'static str, Arc<dyn TokenCredential>)>,
    /// How many of them are configured. The others are guesses, whose failures mean nothing.
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
                    // Two requests may race; either choice is good.
                    let _ = self.chosen.set(at);
                    return Ok(token);
                }
                // A network failure must not make silt stay with another identity.
                Err(error) if at < self.set && is_transient(&error) => return Err(error),
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

    /// Fails with an error of this kind.
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
    async fn only_a_configured_credential_can_fail_transiently() {
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
            assert_eq!(is_transient(&error), expected, "{error:?}");
        }
    }
}
