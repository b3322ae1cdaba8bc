//! Every error code that Azure documents, with its meaning and what silt does about it.

use silt_core::failure::Disposition;

use super::super::error_codes::{Meaning, meaning};
use super::super::errors::tests::classified;

const HALT: Disposition = Disposition::Halt;
const RELOAD: Disposition = Disposition::Reload;
const RETRY: Disposition = Disposition::RETRY;

/// Status, code, what Azure says of it, what it means for silt, what silt does.
#[rustfmt::skip]
const CODES: &[(u16, &str, &str, Meaning, Disposition)] = &[
    (412, "ConditionNotMet", "the condition in a header was not met", Meaning::Stale, RELOAD),
    (412, "TargetConditionNotMet", "the condition on the target was not met", Meaning::Stale, RELOAD),
    (412, "SourceConditionNotMet", "the condition on the source was not met", Meaning::Stale, RELOAD),
    (412, "AppendPositionConditionNotMet", "the append position was not met", Meaning::Stale, RELOAD),
    (412, "MaxBlobSizeConditionNotMet", "the maximum size was not met", Meaning::Stale, RELOAD),
    (412, "SequenceNumberConditionNotMet", "the sequence number was not met", Meaning::Stale, RELOAD),
    (404, "BlobNotFound", "the blob does not exist", Meaning::Stale, RELOAD),
    (404, "PathNotFound", "the path does not exist", Meaning::Stale, RELOAD),
    (409, "BlobAlreadyExists", "the blob exists", Meaning::Stale, RELOAD),
    (409, "PathAlreadyExists", "the path exists", Meaning::Stale, RELOAD),
    (409, "ContainerAlreadyExists", "the container exists", Meaning::Stale, RELOAD),
    (409, "FilesystemAlreadyExists", "the file system exists", Meaning::Stale, RELOAD),
    (400, "InvalidBlockList", "a block of the list is gone", Meaning::Stale, RELOAD),
    (404, "ContainerNotFound", "the container does not exist", Meaning::NoRoot, HALT),
    (404, "FilesystemNotFound", "the file system does not exist", Meaning::NoRoot, HALT),
    (401, "", "no valid credential", Meaning::Unauthenticated, HALT),
    (401, "NoAuthenticationInformation", "no credential was sent", Meaning::Unauthenticated, HALT),
    (400, "InvalidAuthenticationInfo", "the authorization header is malformed", Meaning::Unauthenticated, HALT),
    (401, "InvalidAuthenticationInfo", "the token is invalid", Meaning::Unauthenticated, HALT),
    (403, "AuthenticationFailed", "the signature is wrong or expired", Meaning::Unauthenticated, HALT),
    (409, "PublicAccessNotPermitted", "anonymous access is off", Meaning::Unauthenticated, HALT),
    (403, "AccountIsDisabled", "the account is disabled", Meaning::Disabled, HALT),
    (409, "ContainerDisabled", "an administrator has disabled the container", Meaning::Disabled, HALT),
    (403, "KeyVaultEncryptionKeyNotFound", "the customer-managed key does not exist", Meaning::NoKey, HALT),
    (403, "KeyVaultAccessTokenCannotBeAcquired", "the account can't log in to the vault", Meaning::NoKey, HALT),
    (403, "KeyVaultVaultNotFound", "the vault does not exist", Meaning::NoKey, HALT),
    (403, "", "a firewall answers without a code", Meaning::Forbidden, HALT),
    (403, "AuthorizationFailure", "a permission is missing, or the firewall rejects the request", Meaning::Forbidden, HALT),
    (403, "AuthorizationPermissionMismatch", "a permission is missing", Meaning::Forbidden, HALT),
    (403, "AuthorizationProtocolMismatch", "the SAS allows another protocol", Meaning::Forbidden, HALT),
    (403, "AuthorizationResourceTypeMismatch", "the SAS is for another type of resource", Meaning::Forbidden, HALT),
    (403, "AuthorizationServiceMismatch", "the SAS is for another service", Meaning::Forbidden, HALT),
    (403, "AuthorizationSourceIPMismatch", "the SAS is for another address", Meaning::Forbidden, HALT),
    (403, "InsufficientAccountPermissions", "the account lacks a permission", Meaning::Forbidden, HALT),
    (403, "UnauthorizedBlobOverwrite", "the SAS allows no overwriting", Meaning::Forbidden, HALT),
    (403, "KeyBasedAuthenticationNotPermitted", "account keys are disabled", Meaning::Forbidden, HALT),
    (403, "CannotVerifyCopySource", "the copy source is not accessible", Meaning::Forbidden, HALT),
    (412, "LeaseIdMissing", "the blob is leased", Meaning::Protected, HALT),
    (412, "LeaseIdMismatchWithBlobOperation", "the blob has another lease", Meaning::Protected, HALT),
    (412, "LeaseIdMismatchWithContainerOperation", "the container has another lease", Meaning::Protected, HALT),
    (412, "LeaseLost", "the lease has expired", Meaning::Protected, HALT),
    (412, "LeaseNotPresentWithBlobOperation", "the blob has no lease", Meaning::Protected, HALT),
    (412, "LeaseNotPresentWithContainerOperation", "the container has no lease", Meaning::Protected, HALT),
    (412, "InfiniteLeaseDurationRequired", "the lease must be infinite", Meaning::Protected, HALT),
    (409, "BlobImmutableDueToPolicy", "an immutability policy applies", Meaning::Protected, HALT),
    (409, "BlobImmutableDueToLegalHold", "a legal hold applies", Meaning::Protected, HALT),
    (409, "BlobArchived", "the blob is in the archive tier", Meaning::Protected, HALT),
    (409, "BlobBeingRehydrated", "the blob is leaving the archive tier, which takes hours", Meaning::Protected, HALT),
    (409, "BlobUsesCustomerSpecifiedEncryption", "the blob needs the key that encrypted it", Meaning::Protected, HALT),
    (409, "SnapshotsPresent", "the blob has snapshots", Meaning::Protected, HALT),
    (409, "BlobOperationNotSupported", "the file was created through the Data Lake API", Meaning::Foreign, HALT),
    (409, "InvalidAppendOperation", "the file was created through the other API", Meaning::Foreign, HALT),
    (409, "InvalidFlushOperation", "the file was created through the other API", Meaning::Foreign, HALT),
    (409, "InvalidBlobType", "an append blob or a page blob", Meaning::Foreign, HALT),
    (409, "BlobTypeNotSupported", "an append blob or a page blob", Meaning::Foreign, HALT),
    (409, "ResourceTypeMismatch", "a folder has this name", Meaning::Foreign, HALT),
    (409, "PathConflict", "a folder has this name", Meaning::Foreign, HALT),
    (400, "InvalidBlobOrBlock", "uncommitted blocks of another tool", Meaning::Foreign, HALT),
    (409, "BlockCountExceedsLimit", "50,000 committed or 100,000 uncommitted blocks", Meaning::Full, HALT),
    (413, "RequestEntityTooLargeBlockCountExceedsLimit", "100,000 uncommitted blocks", Meaning::Full, HALT),
    (400, "BlockListTooLong", "a list of more than 50,000 blocks", Meaning::Full, HALT),
    (407, "", "a proxy wants credentials", Meaning::ProxyAuthentication, HALT),
    (500, "InternalError", "a fault of the service", Meaning::Busy, RETRY),
    (500, "OperationTimedOut", "the operation took too long", Meaning::Busy, RETRY),
    (500, "CannotVerifyCopySource", "the copy source was not verified in time", Meaning::Busy, RETRY),
    (500, "CopyBlobAborted", "a copy was aborted", Meaning::Busy, RETRY),
    (503, "ServerBusy", "throttling, or too much load", Meaning::Busy, RETRY),
    (408, "", "the request took too long", Meaning::Busy, RETRY),
    (429, "", "throttling", Meaning::Busy, RETRY),
    (502, "", "a proxy got no answer", Meaning::Busy, RETRY),
    (504, "", "a proxy got no answer in time", Meaning::Busy, RETRY),
    (409, "AccountBeingCreated", "the account is being created", Meaning::Busy, RETRY),
    (409, "ContainerBeingDeleted", "the container is being deleted; after that it does not exist", Meaning::Busy, RETRY),
    (409, "FilesystemBeingDeleted", "the file system is being deleted; after that it does not exist", Meaning::Busy, RETRY),
    (409, "DestinationPathIsBeingDeleted", "the path is being deleted", Meaning::Busy, RETRY),
    (409, "SourcePathIsBeingDeleted", "the path is being deleted", Meaning::Busy, RETRY),
    (409, "PendingCopyOperation", "a copy to the blob is pending", Meaning::Busy, RETRY),
    (409, "SnapshotOperationRateExceeded", "too many snapshots of a blob", Meaning::Busy, RETRY),
    (409, "SystemInUse", "the system is using the blob", Meaning::Busy, RETRY),
    (304, "ConditionNotMet", "a conditional read", Meaning::Unexpected, HALT),
    (400, "ConditionHeadersNotSupported", "a condition that the operation doesn't have", Meaning::Unexpected, HALT),
    (400, "MultipleConditionHeadersNotSupported", "several conditions", Meaning::Unexpected, HALT),
    (400, "CopyAcrossAccountsNotSupported", "a copy between accounts", Meaning::Unexpected, HALT),
    (400, "EmptyMetadataKey", "metadata without a name", Meaning::Unexpected, HALT),
    (400, "InvalidBlobTier", "an unknown tier", Meaning::Unexpected, HALT),
    (400, "InvalidBlockId", "a malformed block id", Meaning::Unexpected, HALT),
    (400, "InvalidFlushPosition", "a position that isn't the end", Meaning::Unexpected, HALT),
    (400, "InvalidHeaderValue", "a malformed header", Meaning::Unexpected, HALT),
    (400, "InvalidHttpVerb", "a malformed method", Meaning::Unexpected, HALT),
    (400, "InvalidInput", "malformed input", Meaning::Unexpected, HALT),
    (400, "InvalidMd5", "a malformed MD5", Meaning::Unexpected, HALT),
    (400, "InvalidMetadata", "malformed metadata", Meaning::Unexpected, HALT),
    (400, "InvalidOperation", "not possible in this state", Meaning::Unexpected, HALT),
    (400, "InvalidPropertyName", "a malformed property", Meaning::Unexpected, HALT),
    (400, "InvalidQueryParameterValue", "a malformed parameter", Meaning::Unexpected, HALT),
    (400, "InvalidRequestUrl", "a malformed URL", Meaning::Unexpected, HALT),
    (400, "InvalidResourceName", "a malformed name", Meaning::Unexpected, HALT),
    (400, "InvalidSourceUri", "a malformed source", Meaning::Unexpected, HALT),
    (400, "InvalidUri", "a malformed URI", Meaning::Unexpected, HALT),
    (400, "InvalidXmlDocument", "malformed XML", Meaning::Unexpected, HALT),
    (400, "InvalidXmlNodeValue", "malformed XML", Meaning::Unexpected, HALT),
    (400, "Md5Mismatch", "a wrong MD5, which silt never sends", Meaning::Unexpected, HALT),
    (400, "MetadataTooLarge", "too much metadata", Meaning::Unexpected, HALT),
    (400, "MissingRequiredHeader", "a header is missing", Meaning::Unexpected, HALT),
    (400, "MissingRequiredQueryParameter", "a parameter is missing", Meaning::Unexpected, HALT),
    (400, "MissingRequiredXmlNode", "an XML node is missing", Meaning::Unexpected, HALT),
    (400, "OutOfRangeInput", "a value out of range", Meaning::Unexpected, HALT),
    (400, "OutOfRangeQueryParameterValue", "a parameter out of range", Meaning::Unexpected, HALT),
    (400, "PreviousSnapshotCannotBeNewer", "a newer snapshot", Meaning::Unexpected, HALT),
    (400, "RequestUrlFailedToParse", "a malformed URL", Meaning::Unexpected, HALT),
    (400, "UnsupportedHeader", "an unknown header", Meaning::Unexpected, HALT),
    (400, "UnsupportedQueryParameter", "an unknown parameter", Meaning::Unexpected, HALT),
    (400, "UnsupportedRestVersion", "an unknown version of the API", Meaning::Unexpected, HALT),
    (400, "UnsupportedXmlNode", "an unknown XML node", Meaning::Unexpected, HALT),
    (404, "", "the address leads to something else", Meaning::Unexpected, HALT),
    (404, "CannotVerifyCopySource", "the copy source does not exist", Meaning::Unexpected, HALT),
    (404, "RenameDestinationParentPathNotFound", "no such folder to rename to", Meaning::Unexpected, HALT),
    (404, "ResourceNotFound", "the address leads to nothing", Meaning::Unexpected, HALT),
    (404, "SourcePathNotFound", "no such path to rename", Meaning::Unexpected, HALT),
    (405, "UnsupportedHttpVerb", "an unknown method", Meaning::Unexpected, HALT),
    (409, "AccountAlreadyExists", "the account exists", Meaning::Unexpected, HALT),
    (409, "BlobNotArchived", "the blob isn't archived", Meaning::Unexpected, HALT),
    (409, "BlobOverwritten", "the blob was created again after the snapshot", Meaning::Unexpected, HALT),
    (409, "BlobTierInadequateForContentLength", "too large for the tier", Meaning::Unexpected, HALT),
    (409, "CannotChangeToLowerTier", "a higher tier was set", Meaning::Unexpected, HALT),
    (409, "CopyAcrossAccountsNotSupported", "a copy between accounts", Meaning::Unexpected, HALT),
    (409, "CopyIdMismatch", "another copy is pending", Meaning::Unexpected, HALT),
    (409, "DestinationPathAlreadyExists", "the name to rename to exists", Meaning::Unexpected, HALT),
    (409, "DirectoryNotEmpty", "the folder isn't empty", Meaning::Unexpected, HALT),
    (409, "FeatureVersionMismatch", "the API's version is too old for the blob", Meaning::Unexpected, HALT),
    (409, "IncrementalCopyBlobMismatch", "an incremental copy of another blob", Meaning::Unexpected, HALT),
    (409, "IncrementalCopyOfEarlierSnapshotNotAllowed", "an incremental copy of an earlier snapshot", Meaning::Unexpected, HALT),
    (409, "IncrementalCopyOfEarlierVersionSnapshotNotAllowed", "an incremental copy of an earlier snapshot", Meaning::Unexpected, HALT),
    (409, "BlobAccessTierNotSupportedForAccountType", "a tier that the account doesn't have", Meaning::Unexpected, HALT),
    (409, "ContentLengthLargerThanTierLimit", "too large for the tier", Meaning::Unexpected, HALT),
    (409, "IncrementalCopySourceMustBeSnapshot", "an incremental copy of no snapshot", Meaning::Unexpected, HALT),
    (409, "InvalidDestinationPath", "a malformed name to rename to", Meaning::Unexpected, HALT),
    (409, "InvalidRenameSourcePath", "a malformed name to rename", Meaning::Unexpected, HALT),
    (409, "InvalidSourceBlobType", "a copy of another type", Meaning::Unexpected, HALT),
    (409, "InvalidSourceBlobUrl", "a malformed copy source", Meaning::Unexpected, HALT),
    (409, "InvalidVersionForPageBlobOperation", "page blobs", Meaning::Unexpected, HALT),
    (409, "LeaseAlreadyBroken", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseAlreadyPresent", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseIdMismatchWithLeaseOperation", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseIsAlreadyBroken", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseIsBreakingAndCannotBeAcquired", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseIsBreakingAndCannotBeChanged", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseIsBrokenAndCannotBeRenewed", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseNameMismatch", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "LeaseNotPresentWithLeaseOperation", "leases, which silt doesn't use", Meaning::Unexpected, HALT),
    (409, "NoPendingCopyOperation", "no copy to abort", Meaning::Unexpected, HALT),
    (409, "OperationNotAllowedOnIncrementalCopyBlob", "an incremental copy", Meaning::Unexpected, HALT),
    (409, "PreviousSnapshotNotFound", "no such snapshot", Meaning::Unexpected, HALT),
    (409, "PreviousSnapshotOperationNotSupported", "snapshots of page blobs", Meaning::Unexpected, HALT),
    (409, "ResourceAlreadyExists", "the resource exists", Meaning::Unexpected, HALT),
    (409, "SequenceNumberIncrementTooLarge", "page blobs", Meaning::Unexpected, HALT),
    (409, "SnapshotCountExceeded", "too many snapshots", Meaning::Unexpected, HALT),
    (411, "MissingContentLengthHeader", "the length is missing", Meaning::Unexpected, HALT),
    (413, "RequestBodyTooLarge", "a body larger than a block may be", Meaning::Unexpected, HALT),
    (416, "InvalidPageRange", "page blobs", Meaning::Unexpected, HALT),
    (416, "InvalidRange", "a range after the end", Meaning::Unexpected, HALT),
    (501, "", "not implemented", Meaning::Unexpected, HALT),
    (505, "", "another HTTP version", Meaning::Unexpected, HALT),
];

#[test]
fn every_documented_code_has_its_meaning_and_disposition() {
    for (status, code, says, expected, disposition) in CODES {
        let case = format!("{status} {code}: {says}");
        assert_eq!(meaning(*status, code), *expected, "{case}");
        let error = classified(*status, code);
        assert_eq!(error.disposition(), *disposition, "{case}: {error}");
    }
}

#[test]
fn the_table_names_each_code_once() {
    let mut codes: Vec<_> = CODES
        .iter()
        .map(|(status, code, ..)| (status, code))
        .collect();
    codes.sort();
    assert!(codes.windows(2).all(|two| two[0] != two[1]));
}

/// A code that is not in the table never makes silt retry a request that can't succeed.
#[test]
fn an_unknown_code_is_retried_only_where_the_status_says_that_it_passes() {
    for status in 300..600 {
        let is_retried = matches!(meaning(status, "CodeOfTomorrow"), Meaning::Busy);
        let may_pass = matches!(status, 408 | 429 | 500 | 502..=504 | 506..=599);
        assert_eq!(is_retried, may_pass, "{status}");
    }
}

#[test]
fn a_file_of_another_api_halts_and_says_what_to_do() {
    for code in ["BlobOperationNotSupported", "InvalidAppendOperation"] {
        let error = classified(409, code).to_string();
        assert!(
            error.contains("users/f can't be appended to: 409"),
            "{error}"
        );
        assert!(error.contains("another tool or API wrote it"), "{error}");
    }
}
