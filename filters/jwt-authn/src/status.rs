//! Why a token is refused, in the words of Envoy's `jwt_authn`.

/// Everything that can be wrong with a token, and with the keys it is verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadFormat,
    HeaderNotBase64,
    HeaderNotJson,
    NoAlgorithm,
    UnknownAlgorithm,
    KeyIdNotText,
    PayloadNotBase64,
    PayloadNotJson,
    IssuerNotText,
    SubjectNotText,
    IssuedAtNotNumber,
    IssuedAtOutOfRange,
    NotBeforeNotNumber,
    NotBeforeOutOfRange,
    ExpiryNotNumber,
    ExpiryOutOfRange,
    IdNotText,
    AudienceNotTexts,
    SignatureNotBase64,
    UnknownIssuer,
    NotYetValid,
    Expired,
    AudienceNotAllowed,
    NoMatchingKey,
    KeysNotFetched,
    Ed25519Length,
    NotVerified,
}

/// Of which kind a refusal is: what is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No token at all by its form, or by the types of what it has.
    Malformed,
    /// Of an issuer that is not configured, or at a place where none of this issuer is looked for.
    UnknownIssuer,
    /// Too old, or too young.
    Time,
    /// For somebody else.
    Audience,
    /// No key there verifies it.
    Signature,
    /// The keys could not be fetched.
    Keys,
}

impl Refusal {
    /// The body of the reply.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::BadFormat => "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
            Self::HeaderNotBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderNotJson => "Jwt header is an invalid JSON",
            Self::NoAlgorithm => "Jwt header [alg] field is required and must be a string",
            Self::UnknownAlgorithm => "Jwt header [alg] is not supported",
            Self::KeyIdNotText => "Jwt header [kid] field is not a string",
            Self::PayloadNotBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadNotJson => "Jwt payload is an invalid JSON",
            Self::IssuerNotText => "Jwt payload [iss] field is not a string",
            Self::SubjectNotText => "Jwt payload [sub] field is not a string",
            Self::IssuedAtNotNumber => "Jwt payload [iat] field is not an integer",
            Self::IssuedAtOutOfRange => "Jwt payload [iat] field is not a positive 64 bit integer",
            Self::NotBeforeNotNumber => "Jwt payload [nbf] field is not an integer",
            Self::NotBeforeOutOfRange => "Jwt payload [nbf] field is not a positive 64 bit integer",
            Self::ExpiryNotNumber => "Jwt payload [exp] field is not an integer",
            Self::ExpiryOutOfRange => "Jwt payload [exp] field is not a positive 64 bit integer",
            Self::IdNotText => "Jwt payload [jti] field is not a string",
            Self::AudienceNotTexts => "Jwt payload [aud] field is not a string or string list",
            Self::SignatureNotBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::AudienceNotAllowed => "Audiences in Jwt are not allowed",
            Self::NoMatchingKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::KeysNotFetched => "Jwks remote fetch is failed",
            Self::Ed25519Length => "Jwt ED25519 signature is wrong length",
            Self::NotVerified => "Jwt verification fails",
        }
    }

    /// The status of the reply: 403 for a token that is good, but for somebody else.
    pub(crate) fn status(self) -> u16 {
        if self == Self::AudienceNotAllowed { 403 } else { 401 }
    }

    /// Its kind.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::UnknownIssuer => Class::UnknownIssuer,
            Self::NotYetValid | Self::Expired => Class::Time,
            Self::AudienceNotAllowed => Class::Audience,
            Self::NoMatchingKey | Self::Ed25519Length | Self::NotVerified => Class::Signature,
            Self::KeysNotFetched => Class::Keys,
            _ => Class::Malformed,
        }
    }
}
