//! What a proxy makes of a request's tokens: the filter says so itself, of those that it finds, and of claims that somebody
//! says a verified token has.

use super::{DescribedRequest, Walk, exchange, plugins, refused};
use crate::compile::CompileError;
use jwt_authn::{Config, Provider};
use native_shim::{FakeClock, Message, NativeProxy, Settings};
use serde_json::Value;

/// How the filter refuses a token whose keys could not be fetched.
const NOT_FETCHED: &str = "Jwks remote fetch is failed";

impl Walk<'_, '_> {
    /// Explains what becomes of a request's tokens. The request as later filters see it, with the claims that are known
    /// here; `None` when it is answered.
    pub(super) fn tokens(
        &mut self,
        at: &str,
        config: &Config,
        request: &DescribedRequest,
    ) -> Result<Option<DescribedRequest>, CompileError> {
        if config.providers.is_empty() {
            if request.claims.is_some() {
                self.push(at, "claims", "not known here: no RequestAuthentication is for this proxy");
            }
            return Ok(Some(DescribedRequest { claims: None, ..request.clone() }));
        }
        match &request.claims {
            Some(claims) => Ok(self.given(at, config, claims, request)),
            None => self.found(at, config, request),
        }
    }

    /// Claims of which somebody says that they are a good token's.
    fn given(
        &mut self,
        at: &str,
        config: &Config,
        claims: &Value,
        request: &DescribedRequest,
    ) -> Option<DescribedRequest> {
        let issuer = claims.get("iss").and_then(Value::as_str);
        let knows = |provider: &&Provider| provider.issuer.is_none() || provider.issuer.as_deref() == issuer;
        let Some(provider) = config.providers.iter().find(knows) else {
            let known: Vec<_> = config.providers.iter().filter_map(|provider| provider.issuer.as_deref()).collect();
            let iss = issuer.map_or("no iss".to_owned(), |issuer| format!("iss {issuer:?}"));
            let known = known.join(", ");
            self.push(at, "answer", format!("401, Jwt issuer is not configured: {iss}; known: {known}"));
            return None;
        };
        self.push(at, "claims", format!("as given, of a token that is good for {}", provider.name));
        let mut asked = request.clone();
        let left = jwt_authn::claim_headers(config, claims.to_string().as_bytes());
        asked
            .headers
            .extend(left.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())));
        Some(asked)
    }

    /// The tokens of the request itself.
    fn found(
        &mut self,
        at: &str,
        config: &Config,
        request: &DescribedRequest,
    ) -> Result<Option<DescribedRequest>, CompileError> {
        let asked = config.providers.iter().filter_map(|provider| provider.remote_jwks.as_ref());
        let asked = asked.map(|keys| keys.cluster.clone());
        // What passes is sent somewhere.
        let clusters = asked.chain(["upstream".to_owned()]).collect();
        let clock = FakeClock::at(request.time);
        let mut proxy = NativeProxy::new(Settings { clusters, clock, ..Settings::default() });
        let configuration = plugins::written(config)?;
        proxy.add_plugin(jwt_authn::configure, &configuration).map_err(|faults| refused(&faults))?;
        let message = Message { headers: request.header_list(), ..Message::default() };
        let outcome = proxy.exchange(message, &mut exchange::Silent);
        let primary = outcome.sent.into_iter().find(|sent| !sent.by_plugin);
        let Some(primary) = primary else {
            let body = String::from_utf8_lossy(&outcome.response.body).into_owned();
            let verdict = match body == NOT_FETCHED {
                true => unknown(config),
                false => format!("{}, {body}", exchange::text(&outcome.response.headers, ":status")),
            };
            self.push(at, "answer", verdict);
            return Ok(None);
        };
        let left = outcome.properties.get(jwt_authn::CLAIMS_PROPERTY);
        let claims: Option<Value> = left.and_then(|claims| serde_json::from_slice(claims).ok());
        let verdict = match &claims {
            Some(claims) => {
                let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("none");
                format!("good: issuer {}, subject {}", text("iss"), text("sub"))
            }
            None => "none, where tokens are looked for: passes".to_owned(),
        };
        self.push(at, "token", verdict);
        let asked = exchange::described(&primary.message.headers, request);
        Ok(Some(DescribedRequest { claims, ..asked }))
    }
}

/// Keys that nobody has asked for here.
fn unknown(config: &Config) -> String {
    let remote = config.providers.iter().filter_map(|provider| provider.remote_jwks.as_ref()).map(|keys| &keys.uri);
    let issuers = config.providers.iter().filter(|provider| provider.discovery.is_some());
    let places: Vec<&str> =
        remote.map(String::as_str).chain(issuers.filter_map(|provider| provider.issuer.as_deref())).collect();
    format!("not known: keys are not fetched here ({}); say with --jwt-claims what a good token has", places.join(", "))
}
