//! RequestAuthentication: which tokens are good.

mod validate;

use crate::resource::Kind;
use crate::scalar::{HeaderName, Millis, Optional};
use crate::{LabelSelector, Metadata, PolicyTargetReference};
use plugin_config::At;

plugin_config::object! {
    /// Which tokens are good. A request without one passes: AuthorizationPolicies may ask for one.
    #[derive(Clone, Debug, PartialEq)]
    pub struct RequestAuthentication {
        /// The workloads it is for; all of its namespace when nothing is said, and all of the mesh in the root namespace.
        pub selector: Option<LabelSelector> = "selector",
        /// The old form of one of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference> = "targetRef",
        /// The gateways and services it is for.
        pub target_refs: Vec<PolicyTargetReference> = "targetRefs",
        /// Alternatives.
        pub jwt_rules: Vec<JwtRule> = "jwtRules",
    }

    /// Which tokens are good.
    #[derive(Clone, Debug, PartialEq)]
    pub struct JwtRule {
        /// Who issued them: `iss`.
        pub issuer: Optional<String> = "issuer",
        /// Whom they are for, of which `aud` must have one; anybody when absent.
        pub audiences: Vec<String> = "audiences",
        /// Where the issuer's keys are; found by OpenID discovery when neither is given.
        pub jwks_uri: Optional<String> = "jwksUri",
        /// An older spelling of `jwksUri`, which Istio's schema still has.
        pub jwks_uri_snake: Optional<String> = "jwks_uri",
        /// The issuer's keys.
        pub jwks: Optional<String> = "jwks",
        /// Headers that have tokens. With any of these three, `Authorization` and `access_token` are not looked at.
        pub from_headers: Vec<JwtHeader> = "fromHeaders",
        /// Query parameters that have tokens.
        pub from_params: Vec<String> = "fromParams",
        /// Cookies that have tokens.
        pub from_cookies: Vec<String> = "fromCookies",
        /// The header that the upstream gets the payload in.
        pub output_payload_to_header: Optional<HeaderName> = "outputPayloadToHeader",
        /// Whether the upstream gets the token.
        pub forward_original_token: bool = "forwardOriginalToken",
        /// Headers that the upstream gets claims in.
        pub output_claim_to_headers: Vec<ClaimToHeader> = "outputClaimToHeaders",
        /// How long fetching keys may take; 5 s when absent.
        pub timeout: Option<Millis> = "timeout",
        /// Claims, beside `scope` and `permission`, of which each word counts.
        pub space_delimited_claims: Vec<String> = "spaceDelimitedClaims",
    }

    /// A header that has a token.
    #[derive(Clone, Debug, PartialEq)]
    pub struct JwtHeader {
        /// Its name.
        pub name: HeaderName = "name",
        /// What stands before the token, to the letter: `Bearer `.
        pub prefix: Optional<String> = "prefix",
    }

    /// A header that the upstream gets a claim in.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ClaimToHeader {
        /// Its name.
        pub header: HeaderName = "header",
        /// The claim; one within another behind a dot.
        pub claim: String = "claim",
    }
}

impl Kind for RequestAuthentication {
    const KIND: &'static str = "RequestAuthentication";
    const GROUP: &'static str = "security.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        validate::check(self, at);
    }
}
