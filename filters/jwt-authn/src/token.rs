//! A token's text → what it says, before anybody has verified it (RFC 7519; RFC 7515, 7.1).

use crate::base64;
use crate::signature::Algorithm;
use crate::status::Refusal;
use plugin_config::Node;

/// Longest token that is looked at, in bytes: what a client sends is read only so far. Proxies have their own limits on
/// headers, mostly below.
pub(crate) const LONGEST: usize = 128 << 10;

/// What a token says. Nothing in it is to be believed until its signature is verified.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    pub(crate) algorithm: Algorithm,
    /// `kid`; empty for none.
    pub(crate) key_id: String,
    /// `iss`; empty for none.
    pub(crate) issuer: String,
    /// `aud`
    pub(crate) audiences: Vec<String>,
    /// `nbf` in seconds since the Unix epoch; 0 for none.
    pub(crate) not_before: u64,
    /// `exp` in seconds since the Unix epoch; 0 for none.
    pub(crate) expires: u64,
    /// What is signed: header, dot, payload.
    pub(crate) signed: &'t [u8],
    pub(crate) signature: Vec<u8>,
    /// The payload as it stands in the token.
    pub(crate) payload_text: &'t [u8],
    /// The payload, a JSON object.
    pub(crate) payload: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// The first thing that is wrong, in Envoy's order.
    pub(crate) fn read(text: &'t [u8]) -> Result<Self, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::BadFormat);
        }
        let mut sections = text.split(|&byte| byte == b'.');
        let (Some(header), Some(payload_text), Some(signature), None) =
            (sections.next(), sections.next(), sections.next(), sections.next())
        else {
            return Err(Refusal::BadFormat);
        };
        if header.is_empty() || payload_text.is_empty() || signature.is_empty() {
            return Err(Refusal::BadFormat);
        }
        let (algorithm, key_id) = read_header(header)?;
        let payload = base64::decode(payload_text).ok_or(Refusal::PayloadNotBase64)?;
        let claims = Claims::read(&object(&payload).ok_or(Refusal::PayloadNotJson)?)?;
        let signature = base64::decode(signature).ok_or(Refusal::SignatureNotBase64)?;
        let signed = text.get(..header.len() + 1 + payload_text.len()).ok_or(Refusal::BadFormat)?;
        let Claims { issuer, audiences, not_before, expires } = claims;
        Ok(Self { algorithm, key_id, issuer, audiences, not_before, expires, signed, signature, payload_text, payload })
    }
}

/// A JSON object. An empty text is none, unlike an empty configuration.
pub(crate) fn object(json: &[u8]) -> Option<Node<'_>> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    plugin_config::parse(json).ok().filter(|node| matches!(node, Node::Object(_)))
}

fn read_header(text: &[u8]) -> Result<(Algorithm, String), Refusal> {
    let json = base64::decode(text).ok_or(Refusal::HeaderNotBase64)?;
    let header = object(&json).ok_or(Refusal::HeaderNotJson)?;
    let Some(Node::String(algorithm)) = header.get("alg") else {
        return Err(Refusal::NoAlgorithm);
    };
    let algorithm = Algorithm::named(algorithm).ok_or(Refusal::UnknownAlgorithm)?;
    Ok((algorithm, text_of(&header, "kid").ok_or(Refusal::KeyIdNotText)?))
}

/// What is checked of a payload.
struct Claims {
    issuer: String,
    audiences: Vec<String>,
    not_before: u64,
    expires: u64,
}

impl Claims {
    fn read(payload: &Node<'_>) -> Result<Self, Refusal> {
        let issuer = text_of(payload, "iss").ok_or(Refusal::IssuerNotText)?;
        text_of(payload, "sub").ok_or(Refusal::SubjectNotText)?;
        seconds(payload, "iat", Refusal::IssuedAtNotNumber, Refusal::IssuedAtOutOfRange)?;
        let not_before = seconds(payload, "nbf", Refusal::NotBeforeNotNumber, Refusal::NotBeforeOutOfRange)?;
        let expires = seconds(payload, "exp", Refusal::ExpiryNotNumber, Refusal::ExpiryOutOfRange)?;
        text_of(payload, "jti").ok_or(Refusal::IdNotText)?;
        let audiences = audiences(payload).ok_or(Refusal::AudienceNotTexts)?;
        Ok(Self { issuer, audiences, not_before, expires })
    }
}

/// A text, empty when it is absent; `None` when it is something else.
fn text_of(object: &Node<'_>, name: &str) -> Option<String> {
    match object.get(name) {
        None => Some(String::new()),
        Some(Node::String(text)) => Some(text.as_ref().to_owned()),
        Some(_) => None,
    }
}

/// A text, or a list of texts.
fn audiences(payload: &Node<'_>) -> Option<Vec<String>> {
    match payload.get("aud") {
        None => Some(Vec::new()),
        Some(Node::String(text)) => Some(vec![text.as_ref().to_owned()]),
        Some(Node::List(items)) => items
            .iter()
            .map(|item| match item {
                Node::String(text) => Some(text.as_ref().to_owned()),
                _ => None,
            })
            .collect(),
        Some(_) => None,
    }
}

/// Whole seconds, cut; 0 when absent.
fn seconds(payload: &Node<'_>, name: &str, not_number: Refusal, out_of_range: Refusal) -> Result<u64, Refusal> {
    match payload.get(name) {
        None => Ok(0),
        Some(Node::Number(number)) => number.whole().ok_or(out_of_range),
        Some(_) => Err(not_number),
    }
}
