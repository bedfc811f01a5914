//! JSON Web Key Sets (RFC 7517): which keys an issuer signs with.

use crate::base64;
use crate::signature::{Algorithm, ED25519_SIGNATURE, PublicKey};
use crate::status::Refusal;
use crate::token::{Token, object};
use plugin_config::Node;
use std::fmt;

/// Most keys that a set may have: a token that names none is tried with each.
const MOST_KEYS: usize = 100;

/// The usable keys of a set, in its order.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    /// `kid`; empty for none.
    id: String,
    /// `alg`, when the key is for that one only.
    algorithm: Option<Algorithm>,
    public: PublicKey,
}

/// Why there is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKeySet {
    NotJson,
    NoKeys,
    NotAList,
    TooMany,
    NoneUsable,
}

impl fmt::Display for NoKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "it is not a JSON object",
            Self::NoKeys => "it has no field keys",
            Self::NotAList => "its field keys is not a list",
            Self::TooMany => "it has more than 100 keys",
            Self::NoneUsable => "it has no key that signatures can be verified with",
        })
    }
}

/// What is wrong with a key of a set: its position, and why it is passed over.
pub(crate) type Fault = (usize, &'static str);

impl KeySet {
    /// Reads a set. Keys that cannot be used are passed over, and reported. One that is for something else than
    /// signatures (`use`, RFC 7517, 4.2) is in order, and passed over as well.
    ///
    /// # Errors
    /// When the set is none, or has no key that can be used.
    pub(crate) fn read(json: &[u8], faults: &mut Vec<Fault>) -> Result<Self, NoKeySet> {
        let set = object(json).ok_or(NoKeySet::NotJson)?;
        let keys = match set.get("keys") {
            Some(Node::List(keys)) => keys,
            Some(_) => return Err(NoKeySet::NotAList),
            None => return Err(NoKeySet::NoKeys),
        };
        if keys.len() > MOST_KEYS {
            return Err(NoKeySet::TooMany);
        }
        let mut usable = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            match Key::read(key) {
                Ok(key) => usable.extend(key),
                Err(reason) => faults.push((position, reason)),
            }
        }
        if usable.is_empty() { Err(NoKeySet::NoneUsable) } else { Ok(Self { keys: usable }) }
    }

    /// Verifies a token's signature. Of keys with an id only that of the token's counts; a token without is tried with
    /// all keys.
    ///
    /// # Errors
    /// When no key verifies it.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<(), Refusal> {
        let mut candidates = self.keys.iter().filter(|key| key.is_for(token)).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::NoMatchingKey);
        }
        let mut fitting = candidates.filter(|key| key.public.fits(token.algorithm)).peekable();
        let of_wrong_length = token.algorithm == Algorithm::Ed25519 && token.signature.len() != ED25519_SIGNATURE;
        if of_wrong_length && fitting.peek().is_some() {
            return Err(Refusal::Ed25519Length);
        }
        let verified = fitting.any(|key| key.public.verifies(token.algorithm, token.signed, &token.signature));
        if verified { Ok(()) } else { Err(Refusal::NotVerified) }
    }
}

impl Key {
    /// `None`: the key is for something else.
    fn read(key: &Node<'_>) -> Result<Option<Self>, &'static str> {
        if !matches!(key, Node::Object(_)) {
            return Err("expected an object");
        }
        match key.get("use") {
            None => {}
            Some(Node::String(purpose)) if purpose == "sig" => {}
            Some(_) => return Ok(None),
        }
        let kind = text(key, "kty", "kty is missing, or no text")?;
        let public = match kind {
            "RSA" => PublicKey::rsa(&bytes(key, "n", NO_N)?, &bytes(key, "e", NO_E)?)?,
            "EC" => {
                let curve = text(key, "crv", "crv is missing, or no text")?;
                PublicKey::elliptic(curve, &bytes(key, "x", NO_X)?, &bytes(key, "y", NO_Y)?)?
            }
            "OKP" if matches!(key.get("crv"), Some(Node::String(curve)) if curve == "Ed25519") => {
                PublicKey::ed25519(&bytes(key, "x", NO_X)?)?
            }
            "OKP" => return Err("of OKP keys only those with crv Ed25519 can sign"),
            "oct" => return Err("a shared secret is no public key"),
            _ => return Err("expected kty RSA, EC or OKP"),
        };
        let algorithm = match key.get("alg") {
            None => None,
            Some(Node::String(name)) => {
                let fitting = Algorithm::named(name).filter(|algorithm| public.fits(*algorithm));
                Some(fitting.ok_or("alg is not supported, or not one for keys of this kty and crv")?)
            }
            Some(_) => return Err("alg is no text"),
        };
        let id = match key.get("kid") {
            None => String::new(),
            Some(Node::String(id)) => id.as_ref().to_owned(),
            Some(_) => return Err("kid is no text"),
        };
        Ok(Some(Self { id, algorithm, public }))
    }

    fn is_for(&self, token: &Token<'_>) -> bool {
        let same_key = token.key_id.is_empty() || self.id.is_empty() || self.id == token.key_id;
        same_key && self.algorithm.is_none_or(|algorithm| algorithm == token.algorithm)
    }
}

const NO_N: &str = "n is missing, or not base64url";
const NO_E: &str = "e is missing, or not base64url";
const NO_X: &str = "x is missing, or not base64url";
const NO_Y: &str = "y is missing, or not base64url";

fn text<'n>(key: &'n Node<'_>, name: &str, reason: &'static str) -> Result<&'n str, &'static str> {
    match key.get(name) {
        Some(Node::String(text)) => Ok(text),
        _ => Err(reason),
    }
}

fn bytes(key: &Node<'_>, name: &str, reason: &'static str) -> Result<Vec<u8>, &'static str> {
    base64::decode(text(key, name, reason)?.as_bytes()).ok_or(reason)
}
