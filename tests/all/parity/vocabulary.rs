//! What a configuration speaks of: the authorities, paths, headers … that its plugins compare requests with.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A request as far as a configuration can tell it from others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) authority: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) query: BTreeMap<String, String>,
}

/// Everything that some plugin's configuration speaks of.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// Requests that one match, or one rule, is about.
    pub(super) shapes: Vec<Shape>,
    pub(super) authorities: Vec<String>,
    pub(super) methods: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) headers: BTreeMap<String, Vec<String>>,
    pub(super) query: BTreeMap<String, Vec<String>>,
    /// Identities, with the trust domain and without `spiffe://`.
    pub(super) principals: Vec<String>,
    /// Whether authorities are compared as they are spelt.
    pub(super) spelling: bool,
}

impl Vocabulary {
    /// That of some plugins' configurations. `tokens`: what clients have where tokens are looked for.
    pub(super) fn of<'v>(configurations: impl Iterator<Item = &'v Value>, tokens: &[String]) -> Self {
        let mut all = Self::default();
        for configuration in configurations {
            all.walk(configuration, &Shape::default());
            for provider in configuration.get("providers").and_then(Value::as_array).into_iter().flatten() {
                all.tokens(provider, tokens);
            }
        }
        all.principals.push("cluster.local/ns/nowhere/sa/nobody".to_owned());
        for list in [&mut all.authorities, &mut all.methods, &mut all.paths, &mut all.principals] {
            dedup(list);
        }
        all.headers.values_mut().chain(all.query.values_mut()).for_each(dedup);
        all
    }

    /// `around`: what has been said further out, as the domains of a virtual host for its routes.
    fn walk(&mut self, value: &Value, around: &Shape) {
        match value {
            Value::Array(all) => all.iter().for_each(|value| self.walk(value, around)),
            Value::Object(fields) => {
                let mut shape = around.clone();
                let said = self.read(fields, &mut shape);
                if said && (around.authority.is_some() || shape != *around) {
                    self.shapes.push(shape.clone());
                }
                fields.values().for_each(|value| self.walk(value, &shape));
            }
            _ => {}
        }
    }

    /// Takes what an object says of requests; whether it says anything, or is a route for all of them.
    fn read(&mut self, fields: &Map<String, Value>, shape: &mut Shape) -> bool {
        let mut said = fields.contains_key("id") && !fields.contains_key("match");
        self.spelling |= fields.get("authority").is_some_and(Value::is_object);
        for (name, value) in fields {
            said |= match name.as_str() {
                "domains" | "hosts" | "notHosts" => {
                    take(texts(value).map(authority), &mut self.authorities, &mut shape.authority)
                }
                "authority" => take(matched(value), &mut self.authorities, &mut shape.authority),
                "methods" | "notMethods" => take(texts(value), &mut self.methods, &mut shape.method),
                "method" => take(matched(value), &mut self.methods, &mut shape.method),
                "paths" | "notPaths" => take(texts(value).map(path), &mut self.paths, &mut shape.path),
                "uri" => take(matched(value), &mut self.paths, &mut shape.path),
                "headers" | "withoutHeaders" => named(value, &mut self.headers, &mut shape.headers),
                "queryParams" => named(value, &mut self.query, &mut shape.query),
                "allowOrigins" => self.header("origin", value, shape),
                "remoteIpBlocks" | "notRemoteIpBlocks" => self.header("x-forwarded-for", value, shape),
                "when" => self.conditions(value, shape),
                "principals" | "notPrincipals" => take(texts(value).map(identity), &mut self.principals, &mut None),
                "namespaces" | "notNamespaces" => {
                    let account = |namespace: String| identity(format!("*/ns/{namespace}/sa/any"));
                    take(texts(value).map(account), &mut self.principals, &mut None)
                }
                _ => false,
            };
        }
        said
    }

    /// Each token at each place where a provider of jwt-authn looks for one.
    fn tokens(&mut self, provider: &Value, tokens: &[String]) {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let headers = provider.get("fromHeaders").and_then(Value::as_array).into_iter().flatten();
        let headers = headers.map(|header| (text(header, "name"), text(header, "prefix")));
        let mut headers: Vec<(String, String)> = headers.collect();
        let names = |field: &str| provider.get(field).into_iter().flat_map(texts);
        headers.extend(names("fromCookies").map(|name| ("cookie".to_owned(), name + "=")));
        let mut params: Vec<String> = names("fromParams").collect();
        if headers.is_empty() && params.is_empty() {
            headers.push(("authorization".to_owned(), "Bearer ".to_owned()));
            params.push("access_token".to_owned());
        }
        for token in tokens {
            for (name, prefix) in &headers {
                let (name, value) = (name.to_ascii_lowercase(), format!("{prefix}{token}"));
                let headers = BTreeMap::from([(name.clone(), value.clone())]);
                self.shapes.push(Shape { headers, ..Shape::default() });
                self.headers.entry(name).or_default().push(value);
            }
            for name in &params {
                let query = BTreeMap::from([(name.clone(), token.clone())]);
                self.shapes.push(Shape { query, ..Shape::default() });
                self.query.entry(name.clone()).or_default().push(token.clone());
            }
        }
    }

    fn header(&mut self, name: &str, value: &Value, shape: &mut Shape) -> bool {
        let mut first = None;
        let all = value.as_array().into_iter().flatten();
        let values = all.flat_map(|value| value.as_str().map(address).into_iter().chain(matched(value)));
        let said = take(values, self.headers.entry(name.to_owned()).or_default(), &mut first);
        shape.headers.extend(first.map(|value| (name.to_owned(), value)));
        said
    }

    /// `when` of a rule, as far as headers go.
    fn conditions(&mut self, value: &Value, shape: &mut Shape) -> bool {
        let mut said = false;
        for condition in value.as_array().into_iter().flatten() {
            let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
            let Some(name) = key.strip_prefix("request.headers[").and_then(|key| key.strip_suffix(']')) else {
                continue;
            };
            for values in ["values", "notValues"].iter().filter_map(|field| condition.get(field)) {
                let values = texts(values).map(|text| text.replace('*', "any"));
                let mut first = None;
                said |= take(values, self.headers.entry(name.to_ascii_lowercase()).or_default(), &mut first);
                shape.headers.extend(first.map(|value| (name.to_ascii_lowercase(), value)));
            }
        }
        said
    }
}

fn dedup(list: &mut Vec<String>) {
    list.sort();
    list.dedup();
}

/// Takes values into a list, and the first of them as what the shape has.
fn take(values: impl Iterator<Item = String>, all: &mut Vec<String>, own: &mut Option<String>) -> bool {
    let before = all.len();
    all.extend(values);
    if let Some(first) = all.get(before) {
        *own = Some(first.clone());
    }
    all.len() > before
}

/// Conditions by name: `{end-user: {exact: jason}}`.
fn named(value: &Value, all: &mut BTreeMap<String, Vec<String>>, own: &mut BTreeMap<String, String>) -> bool {
    let mut said = false;
    for (name, condition) in value.as_object().into_iter().flatten() {
        let is_condition = condition
            .as_object()
            .is_some_and(|fields| fields.keys().all(|key| matches!(key.as_str(), "exact" | "prefix" | "regex")));
        if is_condition {
            let values: Vec<String> = matched(condition).collect();
            let first = values.first().cloned().unwrap_or_else(|| "present".to_owned());
            own.insert(name.clone(), first);
            all.entry(name.clone()).or_default().extend(values);
            said = true;
        }
    }
    said
}

fn texts(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

/// Texts that a StringMatch takes.
fn matched(value: &Value) -> impl Iterator<Item = String> {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let regex = text("regex").and_then(|regex| {
        let strategy = proptest::string::string_regex(regex).ok()?;
        Some(strategy.new_tree(&mut TestRunner::deterministic()).ok()?.current())
    });
    let prefixed = text("prefix").into_iter().flat_map(|prefix| [prefix.to_owned(), format!("{prefix}more")]);
    let found: Vec<String> = text("exact").map(str::to_owned).into_iter().chain(prefixed).chain(regex).collect();
    found.into_iter()
}

/// An identity that a pattern takes, of the trust domain that is trusted.
fn identity(pattern: String) -> String {
    let pattern = pattern.strip_prefix('*').map(|rest| format!("cluster.local{rest}")).unwrap_or(pattern);
    pattern.replace('*', "any")
}

/// An authority that a pattern takes.
fn authority(pattern: String) -> String {
    pattern.replace(":*", ":8080").replace('*', "any")
}

/// A path that a pattern of an AuthorizationPolicy takes.
fn path(pattern: String) -> String {
    pattern.replace("{**}", "deep/er").replace("{*}", "one").replace('*', "any")
}

/// An address of a block.
fn address(block: &str) -> String {
    block.split('/').next().unwrap_or_default().to_owned()
}
