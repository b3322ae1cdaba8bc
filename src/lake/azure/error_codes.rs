//! What Azure's error codes mean for silt.
//!
//! The codes are documented for all services, for the Blob service and for Data Lake Storage, whose codes the
//! Blob service also returns:
//! <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>,
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>,
//! <https://learn.microsoft.com/rest/api/storageservices/data-lake-storage-gen2>.
//! `tests/error_codes.rs` has the table of all of them.

/// What an error response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A condition failed: the file is not in the state that the request named.
    Stale,
    /// The file system doesn't exist.
    NoRoot,
    /// The credential is missing, wrong or expired.
    Unauthenticated,
    /// The credential lacks a permission, or the firewall rejects the request.
    Forbidden,
    /// The account or the file system is disabled.
    Disabled,
    /// The account can't reach the key that encrypts it.
    NoKey,
    /// A lease, a policy, a tier or a snapshot protects the file.
    Protected,
    /// Another tool wrote the file, in a way that silt can't append to.
    Foreign,
    /// The file has as many blocks as Azure allows.
    Full,
    /// It passes by itself.
    Busy,
    /// The proxy wants credentials.
    ProxyAuthentication,
    /// Nothing that silt expects. Retrying doesn't help.
    Unexpected,
}

/// The meaning of a response with this status and code. The code may be empty: a proxy sends none.
pub(super) fn meaning(status: u16, code: &str) -> Meaning {
    match (status, code) {
        // Leases fail with 412, as a condition does.
        (
            _,
            "LeaseIdMissing"
            | "LeaseIdMismatchWithBlobOperation"
            | "LeaseIdMismatchWithContainerOperation"
            | "LeaseLost"
            | "LeaseNotPresentWithBlobOperation"
            | "LeaseNotPresentWithContainerOperation"
            | "InfiniteLeaseDurationRequired"
            | "BlobImmutableDueToPolicy"
            | "BlobImmutableDueToLegalHold"
            | "BlobArchived"
            | "BlobBeingRehydrated"
            | "BlobUsesCustomerSpecifiedEncryption"
            | "SnapshotsPresent",
        ) => Meaning::Protected,
        // Requests with `If-None-Match: *` fail with 409. A block list is invalid once another writer's commit
        // has dropped the blocks that it names.
        (412, _)
        | (404, "BlobNotFound" | "PathNotFound")
        | (
            409,
            "BlobAlreadyExists"
            | "PathAlreadyExists"
            | "ContainerAlreadyExists"
            | "FilesystemAlreadyExists",
        )
        | (400, "InvalidBlockList") => Meaning::Stale,
        (404, "ContainerNotFound" | "FilesystemNotFound") => Meaning::NoRoot,
        (401, _)
        | (
            _,
            "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "NoAuthenticationInformation"
            | "PublicAccessNotPermitted",
        ) => Meaning::Unauthenticated,
        (_, "AccountIsDisabled" | "ContainerDisabled") => Meaning::Disabled,
        (403, code) if code.starts_with("KeyVault") => Meaning::NoKey,
        (403, _) => Meaning::Forbidden,
        (
            _,
            "BlobOperationNotSupported"
            | "InvalidAppendOperation"
            | "InvalidFlushOperation"
            | "InvalidBlobType"
            | "InvalidBlobOrBlock"
            | "BlobTypeNotSupported"
            | "ResourceTypeMismatch"
            | "PathConflict",
        ) => Meaning::Foreign,
        (
            _,
            "BlockCountExceedsLimit"
            | "RequestEntityTooLargeBlockCountExceedsLimit"
            | "BlockListTooLong",
        ) => Meaning::Full,
        (407, _) => Meaning::ProxyAuthentication,
        // The service, or a proxy on the way, does not implement what silt sends.
        (501 | 505, _) => Meaning::Unexpected,
        (
            409,
            "AccountBeingCreated"
            | "ContainerBeingDeleted"
            | "FilesystemBeingDeleted"
            | "DestinationPathIsBeingDeleted"
            | "SourcePathIsBeingDeleted"
            | "PendingCopyOperation"
            | "SnapshotOperationRateExceeded"
            | "SystemInUse",
        )
        | (408 | 429 | 500..=599, _) => Meaning::Busy,
        _ => Meaning::Unexpected,
    }
}
