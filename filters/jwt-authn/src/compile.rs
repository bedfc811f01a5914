//! The configuration as written → what requests are judged by, with every fault at its field.

use crate::claim_headers::ClaimHeaders;
use crate::claims::Outputs;
use crate::config::{Config, Discovery, Provider, RemoteJwks};
use crate::jwks::KeySet;
use crate::key_source::{Find, KeySource, Origin, Place};
use crate::locations;
use crate::uri::Uri;
use crate::verifier::{self, ProviderKeys, Verifier, audience_as_compared};
use http_match::{MatchTable, MatchTableBuilder};
use plugin_config::{At, Duration, Keys, Quoted};
use std::rc::Rc;

/// Everything that requests are judged by.
pub(crate) struct Compiled {
    pub(crate) verifier: Verifier,
    pub(crate) sources: Vec<KeySource>,
    /// Which requests are looked at; `None`: all.
    pub(crate) matches: Option<MatchTable>,
    /// Names of headers that clients may not set.
    pub(crate) outputs: Keys,
}

/// Compiles a configuration; every fault is recorded in `at`.
pub(crate) fn compile(config: &Config, at: &mut At) -> Option<Compiled> {
    let mut matches = MatchTableBuilder::new();
    if !config.matches.is_empty() {
        at.field("match", |at| matches.push(&config.matches, at));
    }
    let mut sources = Vec::new();
    let (mut providers, mut looked_at) = (Vec::new(), Vec::new());
    at.field("providers", |at| {
        for (i, provider) in config.providers.iter().enumerate() {
            at.index(i, |at| {
                looked_at.push(locations::of(provider, at));
                providers.extend(compile_provider(provider, &mut sources, at));
            });
        }
    });
    if providers.len() != config.providers.len() {
        return None;
    }
    let claim_headers = at.field("claimHeaders", |at| ClaimHeaders::of(&config.claim_headers, at));
    let mut outputs = Keys::new();
    for name in providers.iter().flat_map(|provider| provider.outputs.headers()).chain(claim_headers.names()) {
        outputs.insert(0, name.as_bytes());
    }
    let verifier = Verifier::new(providers, &config.providers, looked_at, claim_headers);
    let matches = (!config.matches.is_empty()).then(|| matches.build());
    Some(Compiled { verifier, sources, matches, outputs })
}

fn compile_provider(provider: &Provider, sources: &mut Vec<KeySource>, at: &mut At) -> Option<verifier::Provider> {
    let outputs = Outputs::of(provider, at);
    for (i, _) in provider.audiences.iter().enumerate().filter(|(_, audience)| audience.is_empty()) {
        at.field("audiences", |at| at.index(i, |at| at.refuse("\"\"", "must not be empty")));
    }
    let keys = match (&provider.jwks, &provider.remote_jwks, &provider.discovery) {
        (Some(jwks), None, None) => at.field("jwks", |at| given(jwks, at)),
        (None, Some(remote), None) => {
            at.field("remoteJwks", |at| remote_origin(remote, at)).map(|origin| fetched(origin, sources))
        }
        (None, None, Some(discovery)) => {
            discovered_origin(provider, discovery, at).map(|origin| fetched(origin, sources))
        }
        _ => at.fault(Quoted(&provider.name), "expected exactly one of jwks, remoteJwks, discovery"),
    };
    Some(verifier::Provider {
        name: provider.name.clone(),
        audiences: provider.audiences.iter().map(|audience| audience_as_compared(audience).into()).collect(),
        keys: keys?,
        forward: provider.forward_original_token,
        outputs,
        clock_skew: provider.clock_skew.0.as_secs(),
    })
}

/// Records every fault of a configuration.
pub fn check(config: &Config, at: &mut At) {
    compile(config, at);
}

/// Keys in the configuration: one that cannot be used is a fault, as tokens of it would be refused.
fn given(jwks: &str, at: &mut At) -> Option<ProviderKeys> {
    let mut faults = Vec::new();
    let keys = KeySet::read(jwks.as_bytes(), &mut faults);
    for (i, reason) in &faults {
        at.refuse(Quoted(jwks), format!("keys[{i}] cannot be used: {reason}"));
    }
    match keys {
        Ok(keys) => Some(ProviderKeys::Given(Rc::new(keys))),
        Err(_) if !faults.is_empty() => None,
        Err(reason) => at.fault(Quoted(jwks), format!("not a JSON Web Key Set: {reason}")),
    }
}

/// Providers whose keys are at the same place share them.
fn fetched(origin: Origin, sources: &mut Vec<KeySource>) -> ProviderKeys {
    let known = sources.iter().position(|source| *source.origin() == origin);
    ProviderKeys::Fetched(known.unwrap_or_else(|| {
        sources.push(KeySource::new(origin));
        sources.len() - 1
    }))
}

fn remote_origin(remote: &RemoteJwks, at: &mut At) -> Option<Origin> {
    let uri = Uri::read(&remote.uri);
    if uri.is_none() {
        at.field("uri", |at| at.refuse(Quoted(&remote.uri), "expected a URI with http:// or https:// and a host"));
    }
    let times = times(remote.timeout, remote.cache_duration, at);
    cluster(&remote.cluster, at);
    let place = Place { uri: uri?, cluster: remote.cluster.clone() };
    let (timeout, cache_duration) = times?;
    Some(Origin { find: Find::At(place), timeout, cache_duration })
}

fn discovered_origin(provider: &Provider, discovery: &Discovery, at: &mut At) -> Option<Origin> {
    let issuer = provider.issuer.as_deref().unwrap_or_default();
    // OpenID Connect Discovery 1.0, 4: behind the issuer's path, without its last slash.
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let uri = Uri::read(&format!("{base}/.well-known/openid-configuration")).filter(|_| !base.contains(['?', '#']));
    if uri.is_none() {
        at.field("issuer", |at| {
            at.refuse(Quoted(issuer), "to find its keys, expected a URI with http:// or https://, and no query");
        });
    }
    at.field("discovery", |at| {
        let times = times(discovery.timeout, discovery.cache_duration, at);
        cluster(&discovery.cluster, at);
        let document = Place { uri: uri?, cluster: discovery.cluster.clone() };
        let (timeout, cache_duration) = times?;
        let find = Find::Discover { document, issuer: issuer.to_owned(), clusters: discovery.clusters.clone() };
        Some(Origin { find, timeout, cache_duration })
    })
}

fn cluster(name: &str, at: &mut At) {
    if name.is_empty() {
        at.field("cluster", |at| at.refuse("\"\"", "must not be empty"));
    }
}

/// Timeout and cache duration.
fn times(timeout: Duration, cache: Duration, at: &mut At) -> Option<(std::time::Duration, std::time::Duration)> {
    if timeout.0.is_zero() {
        at.field("timeout", |at| at.refuse(timeout, "expected more than nothing"));
    }
    let least = std::time::Duration::from_secs(1);
    if cache.0 < least {
        at.field("cacheDuration", |at| at.refuse(cache, "expected at least 1s"));
    }
    (!timeout.0.is_zero() && cache.0 >= least).then_some((timeout.0, cache.0))
}
