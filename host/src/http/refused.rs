//! Why a message is refused before any filter sees it: what the local reply says and what the access log notes.

/// A message that is not taken. The connection it came on must not be read further: where the message would have
/// ended is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Status of the local reply; 502 where the message was a response.
    pub status: u16,
    /// Envoy's response code details for it.
    pub details: &'static str,
    /// Body of the local reply, as Envoy's: the reason phrase, or nothing.
    pub body: &'static str,
}

impl Refused {
    /// Grammar errors of a head or body.
    pub const CODEC_ERROR: Self = Self::bad_request("http1.codec_error");
    /// A control byte in a field or in the request target.
    pub const INVALID_CHARACTERS: Self = Self::bad_request("http1.invalid_characters");
    /// A request target of no known form, or of one its method does not take.
    pub const INVALID_URL: Self = Self::bad_request("http1.invalid_url");
    /// Transfer-Encoding and Content-Length together.
    pub const CHUNKED_CONTENT_LENGTH: Self = Self::bad_request("http1.content_length_and_chunked_not_allowed");
    /// A Transfer-Encoding that is repeated, a list, or no coding at all.
    pub const TRANSFER_ENCODING: Self = Self::bad_request("http1.invalid_transfer_encoding");
    /// A single transfer coding that is not `chunked`.
    pub const UNKNOWN_CODING: Self = Self::with_phrase(501, "http1.invalid_transfer_encoding", "Not Implemented");
    /// Transfer-Encoding where a message cannot have one.
    pub const CODING_NOT_ALLOWED: Self = Self::bad_request("http1.transfer_encoding_not_allowed");
    /// Content-Length where a response cannot have one.
    pub const LENGTH_NOT_ALLOWED: Self = Self::bad_request("http1.content_length_not_allowed");
    /// A body where a request cannot have one.
    pub const BODY_DISALLOWED: Self = Self::bad_request("http1.body_disallowed");
    /// A Connection header that nominates what the proxy or the framing needs, or that is no list of tokens.
    pub const CONNECTION_HEADER: Self = Self::bad_request("http1.connection_header_rejected");
    /// An authority that is no `host` or `host:port`.
    pub const INVALID_AUTHORITY: Self = Self::bad_request("http.invalid_authority");
    /// A path that cannot be normalised; Envoy's reply to it has no body.
    pub const PATH_NORMALIZATION: Self = Self { status: 400, details: "path_normalization_failed", body: "" };
    /// HTTP/1.1 without a Host, or with an empty one; Envoy's reply to it has no body.
    pub const MISSING_HOST: Self = Self { status: 400, details: "missing_host_header", body: "" };
    /// HTTP/1.0.
    pub const LOW_VERSION: Self = Self::with_phrase(426, "low_version", "Upgrade Required");
    /// Any other version of HTTP.
    pub const UNKNOWN_VERSION: Self = Self::with_phrase(505, "http1.codec_error", "HTTP Version Not Supported");
    /// A request target beyond its limit.
    pub const TARGET_TOO_LONG: Self = Self::with_phrase(414, "http1.headers_too_large", "URI Too Long");
    /// An Expect other than `100-continue`.
    pub const EXPECTATION: Self = Self::with_phrase(417, "http1.codec_error", "Expectation Failed");
    /// A head beyond its limit of bytes.
    pub const HEAD_TOO_LARGE: Self = Self::too_large("http1.headers_too_large");
    /// More fields in a head than its limit.
    pub const TOO_MANY_HEADERS: Self = Self::too_large("http1.too_many_headers");
    /// Trailers beyond their limit of bytes.
    pub const TRAILERS_TOO_LARGE: Self = Self::too_large("http1.trailers_too_large");
    /// More trailers than the limit of fields.
    pub const TOO_MANY_TRAILERS: Self = Self::too_large("http1.too_many_trailers");

    /// The same refusal of an upstream's response: 502, details kept.
    pub(crate) const fn by_upstream(self) -> Self {
        Self { status: 502, details: self.details, body: "Bad Gateway" }
    }

    const fn bad_request(details: &'static str) -> Self {
        Self::with_phrase(400, details, "Bad Request")
    }

    const fn too_large(details: &'static str) -> Self {
        Self::with_phrase(431, details, "Request Header Fields Too Large")
    }

    const fn with_phrase(status: u16, details: &'static str, body: &'static str) -> Self {
        Self { status, details, body }
    }
}
