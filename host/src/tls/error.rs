//! Why a TLS connection did not come about, in words.

use crate::tls::TIME_LIMIT;
use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};
use std::io;

/// Why a TLS connection did not come about.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TlsError {
    /// What came is no TLS.
    #[error("plaintext where TLS is spoken")]
    Plaintext,
    /// What came begins as TLS and goes on as something else.
    #[error("the TLS handshake is malformed: {0}")]
    Malformed(String),
    /// The peer went away.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The peer said too little for too long.
    #[error("the TLS handshake took longer than {} s", TIME_LIMIT.as_secs())]
    Timeout,
    /// Neither side speaks a version that the other does.
    #[error("the peer speaks no TLS version that is allowed here")]
    NoCommonVersion,
    /// Nor a cipher suite, key exchange or signature.
    #[error("the peer and we have no cipher suite, key exchange or signature algorithm in common: {0}")]
    NoCommonAlgorithm(String),
    /// One is required.
    #[error("the peer shows no certificate")]
    NoCertificate,
    /// It cannot be read, or says what no certificate may say.
    #[error("the peer's certificate cannot be read: {0}")]
    Unreadable(String),
    /// It was valid before.
    #[error("the peer's certificate has expired")]
    Expired,
    /// It will be valid.
    #[error("the peer's certificate is not valid yet")]
    NotValidYet,
    /// The chain does not lead to a trusted CA.
    #[error("no CA that is trusted here has issued the peer's certificate")]
    UnknownIssuer,
    /// Somebody else's certificate, or a forged one.
    #[error("a signature of the peer does not fit: it is forged, or of another CA that has the name of ours")]
    BadSignature,
    /// A certificate that may issue others is no identity.
    #[error("the peer shows a CA's certificate as its own")]
    CaAsLeaf,
    /// Its extended key usage does not have this side of a connection.
    #[error("the peer's certificate is not for this side of a TLS connection")]
    WrongPurpose,
    /// Its names could be read differently elsewhere.
    #[error("a name in the peer's certificate has bytes that are no printable ASCII: {0:?}")]
    UnprintableName(String),
    /// Trust domains are configured, and it is of none.
    #[error("the peer's certificate has no SPIFFE identity")]
    NoIdentity,
    /// A URI that should be a SPIFFE identity.
    #[error("the peer's certificate has a URI that is no SPIFFE identity: {0:?}")]
    MalformedIdentity(String),
    /// An identity of another trust domain.
    #[error("the peer is of trust domain {0:?}, which is not accepted here")]
    WrongTrustDomain(String),
    /// Identities that no one authority may have issued together.
    #[error("the peer's certificate has identities of trust domains with different CAs")]
    SeveralTrustDomains,
    /// The server is another one.
    #[error("the peer's certificate is for {}, not for {expected}", listed(presented))]
    WrongName {
        /// What was to be in it.
        expected: String,
        /// What is in it.
        presented: Vec<String>,
    },
    /// The authority that was to be asked for cannot be asked for.
    #[error("{0:?} is no server name")]
    NoServerName(String),
    /// The peer's own word.
    #[error("the peer refuses: {0}")]
    Refused(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TlsError {
    /// For metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Malformed(_) => "malformed",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonAlgorithm(_) => "no_common_algorithm",
            Self::NoCertificate => "no_certificate",
            Self::Unreadable(_) => "unreadable_certificate",
            Self::Expired => "expired",
            Self::NotValidYet => "not_valid_yet",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "bad_signature",
            Self::CaAsLeaf => "ca_as_leaf",
            Self::WrongPurpose => "wrong_purpose",
            Self::UnprintableName(_) => "unprintable_name",
            Self::NoIdentity => "no_identity",
            Self::MalformedIdentity(_) => "malformed_identity",
            Self::WrongTrustDomain(_) => "wrong_trust_domain",
            Self::SeveralTrustDomains => "several_trust_domains",
            Self::WrongName { .. } => "wrong_name",
            Self::NoServerName(_) => "no_server_name",
            Self::Refused(_) => "refused",
            Self::Other(_) => "other",
        }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no name".into() } else { names.join(", ") }
}

/// Lets a verifier's own reasons through rustls.
impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        let other = rustls::OtherError(std::sync::Arc::new(error));
        Self::InvalidCertificate(CertificateError::Other(other))
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(reason) => of_certificate(reason),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(alert) => Self::Refused(format!("{alert:?}")),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::Plaintext,
            Error::InvalidMessage(reason) => Self::Malformed(format!("{reason:?}")),
            Error::PeerMisbehaved(reason) => Self::Malformed(format!("{reason:?}")),
            Error::PeerSentOversizedRecord
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::Malformed(error.to_string()),
            Error::PeerIncompatible(reason) => of_peer(reason),
            _ => Self::Other(error.to_string()),
        }
    }
}

fn of_certificate(error: &CertificateError) -> TlsError {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsError::NotValidYet,
        CertificateError::UnknownIssuer => TlsError::UnknownIssuer,
        CertificateError::BadSignature => TlsError::BadSignature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => TlsError::WrongPurpose,
        CertificateError::Other(other) => match other.0.downcast_ref::<TlsError>() {
            Some(error) => error.clone(),
            None => TlsError::Unreadable(other.to_string()),
        },
        _ => TlsError::Unreadable(format!("{error:?}")),
    }
}

fn of_peer(reason: &PeerIncompatible) -> TlsError {
    use PeerIncompatible as Reason;
    match reason {
        Reason::Tls12NotOffered
        | Reason::Tls12NotOfferedOrEnabled
        | Reason::Tls13RequiredForQuic
        | Reason::SupportedVersionsExtensionRequired
        | Reason::ServerDoesNotSupportTls12Or13
        | Reason::ServerTlsVersionIsDisabledByOurConfig => TlsError::NoCommonVersion,
        _ => TlsError::NoCommonAlgorithm(format!("{reason:?}")),
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => error.into(),
            None => Self::Closed,
        }
    }
}
