//! The plugin configuration as written.

use http_match::HttpMatchRequest;
use plugin_config::{Duration, ListMap};
use std::time::Duration as Time;

/// How long a set of keys may take to come: Istio's default.
const TIMEOUT: Duration = Duration(Time::from_secs(5));
/// How long a set of keys is used before it is fetched again, as Istio has proxies do it.
const CACHE_DURATION: Duration = Duration(Time::from_secs(5 * 60));
/// How far clocks may be apart: Envoy's default.
const CLOCK_SKEW: Duration = Duration(Time::from_secs(60));

plugin_config::object! {
    /// The plugin configuration.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config {
        /// Whose tokens are good, in the order in which they are preferred.
        pub providers: Vec<Provider> = "providers",
        /// Headers that claims of a good token are left in, for later filters to match. Clients cannot set them.
        pub claim_headers: Vec<ClaimHeader> = "claimHeaders",
        /// Only requests that match one of these must have good tokens; when empty, every request.
        pub matches: Vec<HttpMatchRequest> = "match",
    }

    /// Whose tokens are good: one of Istio's `jwtRules`. Of `jwks`, `remoteJwks` and `discovery` exactly one is given.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Provider {
        /// What it is called in logs: `RequestAuthentication shop/users rule 0`.
        pub name: String = "name",
        /// What `iss` of a token must be; anything when absent.
        pub issuer: Option<String> = "issuer",
        /// Of which `aud` of a token must have one; anything when empty. An `http://` or `https://` before it and a `/`
        /// behind it do not count.
        pub audiences: Vec<String> = "audiences",
        /// The keys: a JSON Web Key Set (RFC 7517, 5).
        pub jwks: Option<String> = "jwks",
        /// Where to fetch the keys.
        pub remote_jwks: Option<RemoteJwks> = "remoteJwks",
        /// How to find where to fetch the keys.
        pub discovery: Option<Discovery> = "discovery",
        /// Headers that have tokens. With one of `fromHeaders`, `fromParams` and `fromCookies`, only what they name has;
        /// without, `Authorization: Bearer …` and the query parameter `access_token`.
        pub from_headers: Vec<HeaderLocation> = "fromHeaders",
        /// Query parameters that have tokens.
        pub from_params: Vec<String> = "fromParams",
        /// Cookies that have tokens.
        pub from_cookies: Vec<String> = "fromCookies",
        /// Whether the upstream gets the token. A cookie always goes on.
        pub forward_original_token: bool = "forwardOriginalToken",
        /// The header that gets the payload, in base64url without padding. Clients cannot set it.
        pub output_payload_to_header: Option<String> = "outputPayloadToHeader",
        /// Headers that get claims. Clients cannot set them.
        pub output_claim_to_headers: Vec<ClaimToHeader> = "outputClaimToHeaders",
        /// Claims, beside `scope` and `permission`, that are lists of words when they are texts.
        pub space_delimited_claims: Vec<String> = "spaceDelimitedClaims",
        /// How far `exp` and `nbf` may be off.
        pub clock_skew: Duration = "clockSkew" or CLOCK_SKEW,
    }

    /// Where to fetch keys.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RemoteJwks {
        /// `http://` or `https://`, authority and path. Which it is, and where the request goes, the cluster says.
        pub uri: String = "uri",
        /// The cluster to ask.
        pub cluster: String = "cluster",
        /// How long to wait for the answer.
        pub timeout: Duration = "timeout" or TIMEOUT,
        /// How long the keys are used before they are fetched again.
        pub cache_duration: Duration = "cacheDuration" or CACHE_DURATION,
    }

    /// How to find where to fetch keys: OpenID Connect Discovery 1.0 at `ISSUER/.well-known/openid-configuration`.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Discovery {
        /// The cluster to ask, for the issuer's own authority.
        pub cluster: String = "cluster",
        /// The clusters to ask when `jwks_uri` has another authority: `keys.example.com` → cluster.
        pub clusters: ListMap<String> = "clusters",
        /// How long to wait for each answer.
        pub timeout: Duration = "timeout" or TIMEOUT,
        /// How long the keys are used before they are fetched again.
        pub cache_duration: Duration = "cacheDuration" or CACHE_DURATION,
    }

    /// A header that has a token.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HeaderLocation {
        /// Its name.
        pub name: String = "name",
        /// What stands before the token, to the letter: `Bearer `. Nothing when absent.
        pub prefix: Option<String> = "prefix",
    }

    /// A header that a claim is left in: a text as it is, a list as one header for each text in it. Others are left out.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ClaimHeader {
        /// Its name.
        pub header: String = "header",
        /// The claim, and what is within it, level by level.
        pub claim: Vec<String> = "claim",
    }

    /// A header that gets a claim.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ClaimToHeader {
        /// Its name.
        pub header: String = "header",
        /// The claim; one within another behind a dot.
        pub claim: String = "claim",
    }
}
