//! Where requests carry tokens: headers, query parameters, cookies.

use crate::config::Provider;
use http_match::{HeaderList, header_name, split_target};
use percent_encoding::percent_decode;
use plugin_config::{At, Keys, Quoted};
use std::borrow::Cow;

/// Most tokens that are looked at. A request with more is refused: no client has so many, and each costs.
pub(crate) const MOST_TOKENS: usize = 16;

/// Tags of [`Locations::names`].
const HEADER: u32 = 0;
const PARAMETER: u32 = 1;
const COOKIE: u32 = 2;

/// A place where tokens are. In this order tokens are found, as in Envoy: headers by name and prefix, parameters and
/// cookies by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Location {
    Header { name: Box<str>, prefix: Box<str> },
    Parameter(Box<str>),
    Cookie(Box<str>),
}

impl Location {
    fn key(&self) -> (u32, &str) {
        match self {
            Self::Header { name, .. } => (HEADER, name),
            Self::Parameter(name) => (PARAMETER, name),
            Self::Cookie(name) => (COOKIE, name),
        }
    }
}

/// A token that a request carries.
#[derive(Debug)]
pub(crate) struct Found<'h> {
    /// Where: a number of [`Locations`].
    pub(crate) location: usize,
    pub(crate) token: Cow<'h, [u8]>,
}

/// More tokens than are looked at.
#[derive(Debug)]
pub(crate) struct TooMany;

/// Every location that some provider looks at, found by the names that a request has.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    all: Vec<Location>,
    names: Keys,
    /// By the number of a name, the locations there: several when a header is looked at with several prefixes.
    at: Vec<Vec<usize>>,
    parameters: bool,
    cookies: bool,
}

impl Locations {
    /// All of these.
    pub(crate) fn new(mut all: Vec<Location>) -> Self {
        all.sort();
        all.dedup();
        let mut locations = Self::default();
        for (number, location) in all.iter().enumerate() {
            let (tag, name) = location.key();
            let (key, _) = locations.names.insert(tag, name.as_bytes());
            let key = key as usize;
            if key >= locations.at.len() {
                locations.at.resize(key + 1, Vec::new());
            }
            if let Some(at) = locations.at.get_mut(key) {
                at.push(number);
            }
            locations.parameters |= tag == PARAMETER;
            locations.cookies |= tag == COOKIE;
        }
        locations.all = all;
        locations
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// A location by its number.
    pub(crate) fn get(&self, number: usize) -> Option<&Location> {
        self.all.get(number)
    }

    /// The number of a location.
    pub(crate) fn number(&self, location: &Location) -> Option<usize> {
        self.all.binary_search(location).ok()
    }

    /// The tokens of a request, in the order of locations and, at one location, in that of the request.
    pub(crate) fn find<'h>(&self, headers: &'h HeaderList) -> Result<Vec<Found<'h>>, TooMany> {
        let mut found = Vec::new();
        for (name, value) in headers.iter() {
            for location in self.named(HEADER, name) {
                if let Some(Location::Header { prefix, .. }) = self.all.get(*location) {
                    let token = behind(prefix.as_bytes(), value);
                    found.extend(token.map(|token| Found { location: *location, token: token.into() }));
                }
            }
            if self.cookies && name == b"cookie" {
                self.find_cookies(value, &mut found);
            }
            if self.parameters && name == b":path" {
                self.find_parameters(value, &mut found);
            }
            if found.len() > MOST_TOKENS {
                return Err(TooMany);
            }
        }
        found.sort_by_key(|found| found.location);
        Ok(found)
    }

    fn named(&self, tag: u32, name: &[u8]) -> &[usize] {
        let number = self.names.find(tag, name);
        number.and_then(|number| self.at.get(number as usize)).map_or(&[], Vec::as_slice)
    }

    /// Of a parameter that occurs several times, the first.
    fn find_parameters<'h>(&self, target: &'h [u8], found: &mut Vec<Found<'h>>) {
        for (name, value) in parameters(target).map(name_and_value) {
            self.found_once(PARAMETER, &name, || percent_decode(value).into(), found);
        }
    }

    /// Of a cookie that occurs several times, the first.
    fn find_cookies<'h>(&self, value: &'h [u8], found: &mut Vec<Found<'h>>) {
        for cookie in value.split(|&byte| byte == b';') {
            let Some(equals) = cookie.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (name, value) = cookie.split_at_checked(equals).unwrap_or_default();
            let value = value.get(1..).unwrap_or_default().trim_ascii_end();
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            self.found_once(COOKIE, name.trim_ascii_start(), || quoted.unwrap_or(value).into(), found);
        }
    }

    fn found_once<'h>(&self, tag: u32, name: &[u8], token: impl Fn() -> Cow<'h, [u8]>, found: &mut Vec<Found<'h>>) {
        for &location in self.named(tag, name) {
            if !found.iter().any(|found| found.location == location) {
                found.push(Found { location, token: token() });
            }
        }
    }
}

/// The parameters of a request target, still encoded.
fn parameters(target: &[u8]) -> impl Iterator<Item = &[u8]> {
    let query = split_target(target).1.into_iter();
    query.flat_map(|query| query.split(|&byte| byte == b'&'))
}

/// A parameter's name and value, the name decoded.
fn name_and_value(parameter: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let equals = parameter.iter().position(|&byte| byte == b'=').unwrap_or(parameter.len());
    let (name, value) = parameter.split_at_checked(equals).unwrap_or_default();
    (percent_decode(name).into(), value.get(1..).unwrap_or_default())
}

/// A request target without the parameters of a name. The others stay as they were sent, unlike in Envoy, which decodes
/// and sorts them.
pub(crate) fn without_parameter(target: &[u8], name: &str) -> Vec<u8> {
    let mut out = split_target(target).0.to_vec();
    let kept = parameters(target).filter(|parameter| *name_and_value(parameter).0 != *name.as_bytes());
    for (i, parameter) in kept.enumerate() {
        out.push(if i == 0 { b'?' } else { b'&' });
        out.extend_from_slice(parameter);
    }
    out
}

/// The token behind a prefix. As in Envoy the prefix may stand anywhere, and what cannot begin a token is passed over
/// behind it; a value without the prefix has no token.
fn behind<'v>(prefix: &[u8], value: &'v [u8]) -> Option<&'v [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    let start = value.windows(prefix.len()).position(|window| window == prefix)?;
    let rest = value.get(start + prefix.len()..)?;
    let begins = rest.iter().position(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    // Nothing that could be one: the whole value is taken for the token, and refused as that.
    Some(begins.and_then(|begins| rest.get(begins..)).unwrap_or(value))
}

/// The locations that a provider looks at; faults are recorded in `at`.
pub(crate) fn of(provider: &Provider, at: &mut At) -> Vec<Location> {
    let mut all = Vec::new();
    at.field("fromHeaders", |at| {
        for (i, header) in provider.from_headers.iter().enumerate() {
            let prefix = header.prefix.as_deref().unwrap_or_default().into();
            match header_name(&header.name).filter(|name| !name.starts_with(':')) {
                Some(name) => all.push(Location::Header { name, prefix }),
                None => {
                    at.index(i, |at| at.field("name", |at| at.refuse(Quoted(&header.name), "expected a header name")))
                }
            }
        }
    });
    at.field("fromParams", |at| names(&provider.from_params, Location::Parameter, &mut all, at));
    at.field("fromCookies", |at| names(&provider.from_cookies, Location::Cookie, &mut all, at));
    if provider.from_headers.is_empty() && provider.from_params.is_empty() && provider.from_cookies.is_empty() {
        all.push(Location::Header { name: "authorization".into(), prefix: "Bearer ".into() });
        all.push(Location::Parameter("access_token".into()));
    }
    all
}

fn names(names: &[String], location: fn(Box<str>) -> Location, all: &mut Vec<Location>, at: &mut At) {
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() {
            at.index(i, |at| at.refuse("\"\"", "must not be empty"));
        }
        all.push(location(name.as_str().into()));
    }
}
