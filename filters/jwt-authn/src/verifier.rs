//! Which tokens of a request are good, and whose.

use crate::cache::{Accepted, TokenCache};
use crate::claim_headers::ClaimHeaders;
use crate::claims::Outputs;
use crate::config;
use crate::jwks::KeySet;
use crate::key_source::{KeySource, State};
use crate::locations::{Found, Location, Locations};
use crate::status::Refusal;
use crate::token::Token;
use plugin_config::Keys;
use std::rc::Rc;
use std::time::Duration;

/// A provider, compiled.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    /// As they are compared; empty: any.
    pub(crate) audiences: Vec<Box<str>>,
    pub(crate) keys: ProviderKeys,
    pub(crate) forward: bool,
    pub(crate) outputs: Outputs,
    pub(crate) clock_skew: u64,
}

/// Where a provider's keys are.
#[derive(Debug)]
pub(crate) enum ProviderKeys {
    /// In the configuration.
    Given(Rc<KeySet>),
    /// With one of the sources.
    Fetched(usize),
}

/// What is decided about one token.
pub(crate) enum Verdict {
    /// Good.
    Accepted(Accepted, Cached),
    /// Bad, for the provider that was looked at for it.
    Refused(Refusal, Option<usize>),
    /// Nobody knows before these keys are here.
    Waits(usize),
}

/// Whether a token was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    Hit,
    Miss,
}

/// All providers, and which of them looks where.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) providers: Vec<Provider>,
    pub(crate) locations: Locations,
    /// Issuers, each under the number of a location.
    issuers: Keys,
    /// By the number of an issuer, its providers at that location.
    by_issuer: Vec<Vec<usize>>,
    /// By location, the providers that take any issuer.
    any_issuer: Vec<Vec<usize>>,
    /// By location, the first provider that looks there.
    first: Vec<usize>,
    /// By provider, its locations.
    looked_at: Vec<Vec<usize>>,
    claim_headers: ClaimHeaders,
    cache: TokenCache,
}

impl Verifier {
    /// `locations`: those of each provider.
    pub(crate) fn new(
        providers: Vec<Provider>,
        written: &[config::Provider],
        looked_at: Vec<Vec<Location>>,
        claim_headers: ClaimHeaders,
    ) -> Self {
        let locations = Locations::new(looked_at.iter().flatten().cloned().collect());
        let count = locations.len();
        let (mut issuers, mut by_issuer) = (Keys::new(), Vec::<Vec<usize>>::new());
        let mut any_issuer = vec![Vec::new(); count];
        let mut first = vec![usize::MAX; count];
        let mut all = Vec::with_capacity(looked_at.len());
        for (i, own) in looked_at.iter().enumerate() {
            let issuer = written.get(i).and_then(|provider| provider.issuer.as_deref()).unwrap_or_default();
            let mut numbers: Vec<usize> = own.iter().filter_map(|location| locations.number(location)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            for &number in &numbers {
                if let Some(first) = first.get_mut(number) {
                    *first = i.min(*first);
                }
                if issuer.is_empty() {
                    any_issuer.get_mut(number).into_iter().for_each(|own| own.push(i));
                    continue;
                }
                let (key, is_new) = issuers.insert(u32::try_from(number).unwrap_or(u32::MAX), issuer.as_bytes());
                if is_new {
                    by_issuer.push(Vec::new());
                }
                by_issuer.get_mut(key as usize).into_iter().for_each(|own| own.push(i));
            }
            all.push(numbers);
        }
        let cache = TokenCache::default();
        Self { providers, locations, issuers, by_issuer, any_issuer, first, looked_at: all, claim_headers, cache }
    }

    /// Decides about a token, at a time since the Unix epoch.
    pub(crate) fn judge(&mut self, found: &Found<'_>, sources: &[KeySource], now: Duration) -> Verdict {
        let seconds = now.as_secs();
        if let Some(accepted) = self.cache.get(found.location, &found.token)
            && (accepted.valid.0..=accepted.valid.1).contains(&seconds)
            && self.generation(accepted.provider, sources) == Some(accepted.keys)
        {
            return Verdict::Accepted(accepted, Cached::Hit);
        }
        let token = match Token::read(&found.token) {
            Ok(token) => token,
            Err(refusal) => return Verdict::Refused(refusal, None),
        };
        match self.verify(&token, found.location, sources, now) {
            Verdict::Accepted(accepted, cached) => {
                self.cache.insert(found.location, &found.token, accepted.clone());
                Verdict::Accepted(accepted, cached)
            }
            other => other,
        }
    }

    /// Which set of keys a provider has now; `None` while it has none.
    fn generation(&self, provider: usize, sources: &[KeySource]) -> Option<u64> {
        match self.keys(provider, sources)? {
            State::Ready(_, generation) => Some(generation),
            State::Pending | State::Failed => None,
        }
    }

    fn keys(&self, provider: usize, sources: &[KeySource]) -> Option<State> {
        Some(match &self.providers.get(provider)?.keys {
            ProviderKeys::Given(keys) => State::Ready(keys.clone(), 0),
            ProviderKeys::Fetched(source) => sources.get(*source)?.state(),
        })
    }

    /// As in Envoy, where several providers could take a token: the first that does; else the error of the first
    /// provider that looks there, if it has one beyond not knowing the issuer; else that of the last that has one.
    fn verify(&self, token: &Token<'_>, location: usize, sources: &[KeySource], now: Duration) -> Verdict {
        let mut refused = None;
        let mut waits = None;
        for provider in self.candidates(token, location) {
            match self.verify_for(provider, token, sources, now) {
                Verdict::Refused(refusal, provider) => {
                    let first = self.first.get(location).copied();
                    if !matches!(refused, Some((_, earlier)) if earlier == first) {
                        refused = Some((refusal, provider));
                    }
                }
                Verdict::Waits(source) => waits = waits.or(Some(source)),
                accepted => return accepted,
            }
        }
        match (waits, refused) {
            (Some(source), _) => Verdict::Waits(source),
            (None, Some((refusal, provider))) => Verdict::Refused(refusal, provider),
            (None, None) => Verdict::Refused(Refusal::UnknownIssuer, None),
        }
    }

    /// The providers that look at a location and take a token's issuer, in their order.
    fn candidates(&self, token: &Token<'_>, location: usize) -> Vec<usize> {
        let tag = u32::try_from(location).unwrap_or(u32::MAX);
        let number = self.issuers.find(tag, token.issuer.as_bytes());
        let own = number.and_then(|number| self.by_issuer.get(number as usize)).into_iter().flatten();
        let mut all: Vec<usize> = own.chain(self.any_issuer.get(location).into_iter().flatten()).copied().collect();
        all.sort_unstable();
        all
    }

    /// What one provider says to a token of an issuer that it takes.
    fn verify_for(&self, index: usize, token: &Token<'_>, sources: &[KeySource], now: Duration) -> Verdict {
        let Some(provider) = self.providers.get(index) else {
            return Verdict::Refused(Refusal::UnknownIssuer, None);
        };
        let refuse = |refusal| Verdict::Refused(refusal, Some(index));
        let valid = match provider.valid(token, now.as_secs()) {
            Ok(valid) => valid,
            Err(refusal) => return refuse(refusal),
        };
        if !provider.audience_is_allowed(token) {
            return refuse(Refusal::AudienceNotAllowed);
        }
        let (keys, generation) = match (self.keys(index, sources), &provider.keys) {
            (Some(State::Ready(keys, generation)), _) => (keys, generation),
            (Some(State::Pending), ProviderKeys::Fetched(source)) => return Verdict::Waits(*source),
            _ => return refuse(Refusal::KeysNotFetched),
        };
        match (keys.verify(token), &provider.keys) {
            (Ok(()), _) => {}
            (Err(Refusal::NoMatchingKey), ProviderKeys::Fetched(source))
                if !token.key_id.is_empty() && sources.get(*source).is_some_and(|source| source.may_refetch(now)) =>
            {
                return Verdict::Waits(*source);
            }
            (Err(refusal), _) => return refuse(refusal),
        }
        match provider.outputs.left_by(token, &self.claim_headers) {
            Some(left) => {
                let left = Rc::new(left);
                Verdict::Accepted(Accepted { provider: index, keys: generation, valid, left }, Cached::Miss)
            }
            None => refuse(Refusal::PayloadNotJson),
        }
    }

    /// Whose claims count, of tokens that are all good: those of the first provider that took every token at its places,
    /// and of these the first. Where no provider took all of its, the first of all. As in Envoy.
    pub(crate) fn winner<'a>(&self, accepted: &'a [(usize, Accepted)]) -> Option<&'a Accepted> {
        let took_all = |provider: usize| {
            let mut at_its_places = accepted.iter().filter(|(location, _)| self.looks_at(provider, *location));
            at_its_places.all(|(_, accepted)| accepted.provider == provider)
        };
        let mut providers: Vec<usize> = accepted.iter().map(|(_, accepted)| accepted.provider).collect();
        providers.sort_unstable();
        let winner = providers.into_iter().find(|provider| took_all(*provider));
        let of_winner = |accepted: &&Accepted| winner.is_none_or(|winner| accepted.provider == winner);
        accepted.iter().map(|(_, accepted)| accepted).find(of_winner)
    }

    fn looks_at(&self, provider: usize, location: usize) -> bool {
        self.looked_at.get(provider).is_some_and(|own| own.contains(&location))
    }
}

impl Provider {
    /// From when to when a token is good.
    fn valid(&self, token: &Token<'_>, now: u64) -> Result<(u64, u64), Refusal> {
        let from = token.not_before.saturating_sub(self.clock_skew);
        let to = if token.expires == 0 { u64::MAX } else { token.expires.saturating_add(self.clock_skew) };
        if now < from {
            Err(Refusal::NotYetValid)
        } else if now > to {
            Err(Refusal::Expired)
        } else {
            Ok((from, to))
        }
    }

    fn audience_is_allowed(&self, token: &Token<'_>) -> bool {
        let allowed = |audience: &String| self.audiences.iter().any(|own| **own == *audience_as_compared(audience));
        self.audiences.is_empty() || token.audiences.iter().any(allowed)
    }
}

/// An audience without what does not count: `https://billing/` is `billing`.
pub(crate) fn audience_as_compared(audience: &str) -> &str {
    let bare = audience.strip_prefix("https://").or_else(|| audience.strip_prefix("http://")).unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}
