//! The case format: configuration, requests, expected effects. One file is a list of cases.

use crate::jwt;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `snake_case`, unique in its file.
    pub name: String,
    /// The fact it shows, in a sentence.
    pub about: String,
    /// The module; by default that of the filter whose folder the file is in.
    pub module: Option<String>,
    /// Its plugin configuration.
    pub configuration: Option<serde_json::Value>,
    /// Instead of the two: several plugins, in request order.
    #[serde(default)]
    pub chain: Vec<Plugin>,
    /// Instead of requests: the configuration is refused, with faults at exactly these paths.
    #[serde(default)]
    pub faults: Vec<String>,
    /// TLS, and who the client is.
    pub peer: Option<Peer>,
    /// Dynamic metadata that an earlier filter left: namespace → struct.
    #[serde(default)]
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// The listener's `use_remote_address`.
    #[serde(default)]
    pub use_remote_address: bool,
    /// What every cluster answers, unless `clusters` says otherwise.
    #[serde(default)]
    pub upstream: Answer,
    /// What single clusters answer; null: the cluster does not exist.
    #[serde(default)]
    pub clusters: BTreeMap<String, Option<Answer>>,
    /// The requests, one after the other.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// Engine (native, envoy, host, or live for the last two) → why the case cannot run in it.
    #[serde(default)]
    pub except: BTreeMap<String, String>,
}

impl Case {
    /// Makes the tokens and key sets that it has, in configurations, requests and answers: see [`crate::jwt`].
    fn make_tokens(&mut self) -> Result<(), String> {
        let chain = self.chain.iter_mut().map(|plugin| &mut plugin.configuration);
        for configuration in self.configuration.iter_mut().chain(chain) {
            make_in(configuration)?;
        }
        for answer in self.clusters.values_mut().flatten() {
            answer.body = jwt::expand(&answer.body)?;
        }
        for request in &mut self.requests {
            request.path = jwt::expand(&request.path)?;
            for (_, value) in &mut request.headers {
                if let Bytes::Text(text) = value {
                    *text = jwt::expand(text)?;
                }
            }
        }
        Ok(())
    }
}

fn make_in(value: &mut serde_json::Value) -> Result<(), String> {
    match value {
        serde_json::Value::String(text) => *text = jwt::expand(text)?,
        serde_json::Value::Array(items) => items.iter_mut().try_for_each(make_in)?,
        serde_json::Value::Object(fields) => fields.values_mut().try_for_each(make_in)?,
        _ => {}
    }
    Ok(())
}

/// One plugin of a chain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The module.
    pub module: String,
    /// Its plugin configuration.
    pub configuration: serde_json::Value,
    /// Which root context of the module; by default one of its own.
    pub root_id: Option<String>,
}

/// The client's side of TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// URI SANs of its certificate; none: it shows no certificate.
    #[serde(default)]
    pub uri_sans: Vec<String>,
    /// The server name it asks for.
    pub sni: Option<String>,
}

/// What an upstream answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// Instead: the message of a gRPC answer, in hexadecimal digits.
    pub grpc: Option<String>,
    /// Instead: the status a gRPC call ends with, without a message.
    pub grpc_status: Option<u32>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: "ok".into(), grpc: None, grpc_status: None }
    }
}

/// A value of text or, as `{hex: ff00}`, of any bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// Text.
    Text(String),
    /// Bytes in hexadecimal digits.
    Hex {
        /// The digits.
        hex: String,
    },
    /// A text, so many times.
    Repeat {
        /// The text.
        repeat: String,
        /// How often.
        count: usize,
    },
}

impl Bytes {
    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Bytes::Text(text) => text.clone().into_bytes(),
            Bytes::Hex { hex } => unhex(hex),
            Bytes::Repeat { repeat, count } => repeat.repeat(*count).into_bytes(),
        }
    }
}

/// Bytes from hexadecimal digits; what is none ends them.
pub fn unhex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks_exact(2)
        .map_while(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// A body: text, or so many bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Body {
    /// Text.
    Text(String),
    /// Any bytes, so many.
    Size {
        /// How many.
        size: usize,
    },
}

impl Body {
    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Body::Text(text) => text.clone().into_bytes(),
            Body::Size { size } => (0..*size).map(|i| b"0123456789abcdef"[i % 16]).collect(),
        }
    }
}

/// A request, and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method.
    #[serde(default = "get")]
    pub method: String,
    /// Path, with query.
    #[serde(default = "slash")]
    pub path: String,
    /// Authority.
    #[serde(default = "example")]
    pub authority: String,
    /// Headers, in order.
    #[serde(default)]
    pub headers: Vec<(String, Bytes)>,
    /// So many further headers, `x-0: 0` and on.
    #[serde(default)]
    pub further_headers: usize,
    /// Body.
    pub body: Option<Body>,
    /// Trailers.
    #[serde(default)]
    pub trailers: Vec<(String, String)>,
    /// How often it is sent.
    #[serde(default = "once")]
    pub times: usize,
    /// The draws natively, as fractions.
    #[serde(default)]
    pub draws: Vec<f64>,
    /// The expected effect.
    pub expect: Expect,
}

fn get() -> String {
    "GET".into()
}

fn slash() -> String {
    "/".into()
}

fn example() -> String {
    "example.test".into()
}

fn once() -> usize {
    1
}

impl Default for Request {
    /// A GET of `/`, of which nothing is expected.
    fn default() -> Self {
        Self {
            method: get(),
            path: slash(),
            authority: example(),
            headers: Vec::new(),
            further_headers: 0,
            body: None,
            trailers: Vec::new(),
            times: once(),
            draws: Vec::new(),
            expect: Expect::default(),
        }
    }
}

impl Request {
    /// All headers, in order.
    pub fn all_headers(&self) -> Vec<(String, Vec<u8>)> {
        let own = self.headers.iter().map(|(name, value)| (name.clone(), value.bytes()));
        own.chain((0..self.further_headers).map(|i| (format!("x-{i}"), i.to_string().into_bytes()))).collect()
    }
}

/// What is expected; only what is given is checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The client's status.
    pub status: Option<u16>,
    /// Response headers.
    #[serde(default)]
    pub headers: Headers,
    /// Response body.
    pub body: Option<String>,
    /// What reached the upstream.
    pub upstream: Option<Upstream>,
    /// What plugins sent by themselves.
    pub mirrors: Option<Vec<Reached>>,
    /// How long the request was held: `300ms`.
    pub delay: Option<plugin_duration::Delay>,
    /// Shares of requests sent many times.
    #[serde(default)]
    pub shares: Vec<Share>,
    /// Changes of metrics.
    #[serde(default)]
    pub metrics: BTreeMap<String, i64>,
    /// Texts that log lines must have.
    #[serde(default)]
    pub log: Vec<String>,
}

/// Header name → values; null: absent.
pub type Headers = BTreeMap<String, Option<Values>>;

/// One value, or all of them in order.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// Every value, in order.
    All(Vec<Bytes>),
    /// The only value.
    One(Bytes),
}

impl Values {
    /// All values, in order.
    pub fn all(&self) -> Vec<Vec<u8>> {
        match self {
            Values::All(values) => values.iter().map(Bytes::bytes).collect(),
            Values::One(value) => vec![value.bytes()],
        }
    }
}

/// `none`, or what reached it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Upstream {
    /// What reached it.
    Reached(Box<Reached>),
    /// The word `none`.
    None(Nothing),
}

/// The word `none`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Nothing {
    /// Nothing reached an upstream.
    #[serde(rename = "none")]
    None,
}

/// A request as an upstream saw it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reached {
    /// Cluster.
    pub cluster: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Path, with query.
    pub path: Option<String>,
    /// Authority.
    pub authority: Option<String>,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub body: Option<Body>,
}

/// The share of requests of which something is true.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// What.
    pub of: Of,
    /// Its share, 0 to 1.
    pub share: f64,
}

/// What a share counts: requests of which all that is given is true.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Of {
    /// The client's status.
    pub status: Option<u16>,
    /// The cluster reached.
    pub cluster: Option<String>,
    /// A cluster a plugin sent a copy to.
    pub mirror: Option<String>,
    /// Held at least so long.
    pub delayed: Option<plugin_duration::Delay>,
}

/// Durations as configurations have them.
pub mod plugin_duration {
    use serde::{Deserialize, Deserializer, de::Error};

    /// `300ms`
    #[derive(Clone, Copy, Debug)]
    pub struct Delay(pub std::time::Duration);

    impl<'de> Deserialize<'de> for Delay {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = serde_json::Value::String(String::deserialize(deserializer)?).to_string();
            let read = plugin_config::from_slice::<plugin_config::Duration>(text.as_bytes());
            read.map(|duration| Self(duration.0)).map_err(|faults| D::Error::custom(faults.to_string()))
        }
    }
}

/// A case with where it stands.
#[derive(Clone, Debug)]
pub struct Located {
    /// `<filter>::<file>::<case>`
    pub id: String,
    /// The plugins, in request order.
    pub plugins: Vec<Plugin>,
    /// The case.
    pub case: Case,
}

/// Every case below `filters/*/cases`.
///
/// # Errors
/// The first file that cannot be read, with line and column.
pub fn all(root: &Path) -> Result<Vec<Located>, String> {
    let mut cases = Vec::new();
    for filter in entries(&root.join("filters"))? {
        for file in entries(&filter.join("cases")).unwrap_or_default() {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                cases.extend(read(&file, &format!("{}::{}", stem(&filter), stem(&file)), &stem(&filter))?);
            }
        }
    }
    Ok(cases)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let list = std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut paths: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The cases of a file: names begin with `prefix`, and are about `module` where they do not say which.
///
/// # Errors
/// Why the file cannot be read, with line and column.
pub fn read(file: &Path, prefix: &str, module: &str) -> Result<Vec<Located>, String> {
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| at(&error))?;
    // YAML 1.2: `n` and `no` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    let cases: Vec<Case> = serde_saphyr::from_str_with_options(&text, options).map_err(|error| at(&error))?;
    let mut seen = std::collections::BTreeSet::new();
    let located = cases.into_iter().map(|mut case| {
        case.make_tokens().map_err(|error| at(&format!("{}: {error}", case.name)))?;
        if !seen.insert(case.name.clone()) {
            return Err(at(&format!("two cases are called {}", case.name)));
        }
        if case.requests.is_empty() == case.faults.is_empty() {
            return Err(at(&format!("{}: expected either requests or faults", case.name)));
        }
        let plugins = plugins(&case, module);
        Ok(Located { id: format!("{prefix}::{}", case.name), plugins, case })
    });
    located.collect()
}

fn plugins(case: &Case, module: &str) -> Vec<Plugin> {
    if !case.chain.is_empty() {
        return case.chain.clone();
    }
    let module = case.module.clone().unwrap_or_else(|| module.to_owned());
    vec![Plugin { module, configuration: case.configuration.clone().unwrap_or_default(), root_id: None }]
}
