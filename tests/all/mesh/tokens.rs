//! Tokens of users, beside the certificates of callers, through whole sidecars: whose are good, what their claims allow,
//! where keys come from, and what happens when they change.

use super::identity::{MALLORY, OK, RATINGS, equal, peer_authentication, three, trial};
use super::{Network, Sidecars};
use libtest_mimic::Trial;
use outrigger_tests::live::wait_until;
use outrigger_tests::raw::{After, Message, Upstream};
use std::time::Duration;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("tokens::with_certificates", with_certificates),
        trial("tokens::keys_by_http", keys_by_http),
        trial("tokens::keys_that_cannot_be_had", keys_that_cannot_be_had),
    ]
}

/// What the tokens say, and how they are signed, stands there too.
const TOKENS: &str = include_str!("../../parity/tokens/tokens.txt");
/// RFC 8037, A.2.
const KNOWN: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "known", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const NEXT: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "next", "x": "e2E8ZYg3RBQLCYrVYE3IhHTVrkg6wxzdNjcy1B_tlY0"}]}"#;

/// Where the keys are when they are fetched.
const KEYS: &str = "keys.example";
const KEYS_PORT: u16 = 9090;

/// A token by what is said of it.
fn token(said: &str) -> Result<&'static str, String> {
    let mut lines = TOKENS.lines();
    lines.find(|line| line.strip_prefix("# ") == Some(said)).ok_or_else(|| format!("no token {said:?}"))?;
    lines.next().ok_or_else(|| format!("nothing behind {said:?}"))
}

/// Whose tokens are good for reviews, and who may call it.
fn rules(keys: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: reviews}}}}
  jwtRules: [{{issuer: 'https://users.example', audiences: [shop], {keys}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: reviews, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: reviews}}}}
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/shop/sa/ratings]
        requestPrincipals: ['https://users.example/*']
    when: [{{key: 'request.auth.claims[groups]', values: [editors]}}]
"
    )
}

fn remote() -> String {
    rules(&format!("jwksUri: 'http://{KEYS}:{KEYS_PORT}/keys'"))
}

/// Who has the keys.
fn key_server(port: u16) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: keys, namespace: shop}}
spec:
  hosts: [{KEYS}]
  ports: [{{number: {KEYS_PORT}, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
"
    )
}

fn serving(keys: &str) -> Result<Upstream, String> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
    Upstream::answering(answer.as_bytes(), After::Keep)
}

fn call(sidecars: &Sidecars, from: u8, said: &str) -> Result<Message, String> {
    sidecars.call(from, "reviews", &format!("authorization: Bearer {}\r\n", token(said)?))
}

fn answered(sidecars: &Sidecars, from: u8, said: &str, status: u16, body: &str) -> Result<(), String> {
    let answer = call(sidecars, from, said)?;
    equal(
        &format!("the answer to a token {said:?} of {from}"),
        (answer.status(), answer.text().as_str()),
        (status, body),
    )
}

const REFUSED: &str = "RBAC: access denied";
const EDITOR: &str = "good, of an editor";

fn with_certificates() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let mesh = three(network, &upstream) + &peer_authentication("STRICT") + &rules(&format!("jwks: '{KNOWN}'"));
    let sidecars = Sidecars::start(network, &mesh)?;
    equal("without a token", sidecars.call(RATINGS, "reviews", "")?.status(), 403)?;
    answered(&sidecars, RATINGS, EDITOR, 200, "ok")?;
    upstream.wait_for(1)?;
    let told = upstream.take();
    let told = told.first().and_then(|request| request.header("authorization"));
    equal("what the application gets of the token", told, None)?;
    answered(&sidecars, MALLORY, EDITOR, 403, REFUSED)?;
    answered(&sidecars, RATINGS, "good, of nobody in particular", 403, REFUSED)?;
    answered(&sidecars, RATINGS, "expired", 401, "Jwt is expired")?;
    answered(&sidecars, RATINGS, "for somebody else", 403, "Audiences in Jwt are not allowed")?;
    answered(&sidecars, RATINGS, "of an unknown issuer", 401, "Jwt issuer is not configured")?;
    answered(&sidecars, RATINGS, "with another signature", 401, "Jwt verification fails")?;
    let challenge = call(&sidecars, RATINGS, "expired")?.header("www-authenticate");
    let wanted = "Bearer realm=\"http://reviews:9080/\", error=\"invalid_token\"";
    equal("the challenge", challenge.as_deref(), Some(wanted))
}

/// Keys are asked for once, and again when a token names one that is not among them.
fn keys_by_http() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let (first, second) = (serving(KNOWN)?, serving(NEXT)?);
    let mesh = three(network, &upstream) + &peer_authentication("STRICT") + &remote();
    let sidecars = Sidecars::start(network, &(mesh.clone() + &key_server(first.port)))?;
    for _ in 0..3 {
        answered(&sidecars, RATINGS, "of the known key", 200, "ok")?;
    }
    first.wait_for(1)?;
    let asked: Vec<_> =
        first.take().iter().map(|request| (request.target().to_owned(), request.header("host"))).collect();
    equal("what the key server was asked", asked, vec![("/keys".to_owned(), Some(format!("{KEYS}:{KEYS_PORT}")))])?;
    sidecars.reload(&(mesh + &key_server(second.port)))?;
    answered(&sidecars, RATINGS, "of the known key", 200, "ok")?;
    answered(&sidecars, RATINGS, "of the next key", 200, "ok")?;
    let gone = "Jwks doesn't have key to match kid or alg from Jwt";
    answered(&sidecars, RATINGS, "of the known key", 401, gone)
}

/// Nobody is let in by keys that are not there, and everybody again once they are.
fn keys_that_cannot_be_had() -> Result<(), String> {
    let (network, upstream) = (Network::new(), Upstream::answering(OK, After::Keep)?);
    let keys = serving(KNOWN)?;
    let mesh = three(network, &upstream) + &peer_authentication("STRICT") + &remote();
    let sidecars = Sidecars::start(network, &(mesh.clone() + &key_server(1)))?;
    answered(&sidecars, RATINGS, EDITOR, 401, "Jwks remote fetch is failed")?;
    equal("without a token", sidecars.call(RATINGS, "reviews", "")?.status(), 403)?;
    sidecars.reload(&(mesh + &key_server(keys.port)))?;
    let mut last = 0;
    let found = wait_until(Duration::from_secs(60), || {
        last = call(&sidecars, RATINGS, EDITOR).map_or(0, |answer| answer.status());
        last == 200
    });
    if found { Ok(()) } else { Err(format!("with keys the answer is {last}")) }
}
