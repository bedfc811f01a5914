//! The test keys: they sign tokens of cases, and are good for nothing else.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A key with which tokens are signed.
pub(super) enum Key {
    Rsa(Box<RsaKeyPair>),
    /// With its curve, and how many bytes a coordinate has.
    Elliptic(Box<EcdsaKeyPair>, &'static str, usize),
    Ed25519(Box<Ed25519KeyPair>),
}

/// The key that signs tokens of an algorithm, where none is named.
pub(super) fn of_algorithm(algorithm: &str) -> &'static str {
    match algorithm {
        "ES256" => "p256",
        "ES384" => "p384",
        "ES512" => "p521",
        "EdDSA" => "ed25519",
        _ => "rsa",
    }
}

impl Key {
    /// The key in a file of this folder.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let pem: &[u8] = match name {
            "rsa" => include_bytes!("keys/rsa.pem"),
            "rsa2" => include_bytes!("keys/rsa2.pem"),
            "p256" => include_bytes!("keys/p256.pem"),
            "p384" => include_bytes!("keys/p384.pem"),
            "p521" => include_bytes!("keys/p521.pem"),
            "ed25519" => include_bytes!("keys/ed25519.pem"),
            _ => return Err(format!("there is no key {name}")),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|error| format!("{name}: {error}"))?;
        let der = der.secret_pkcs8_der();
        let unreadable = |error: aws_lc_rs::error::KeyRejected| format!("{name}: {error}");
        let elliptic = |algorithm, curve, size| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(unreadable)?;
            Ok(Self::Elliptic(Box::new(pair), curve, size))
        };
        match name {
            "p256" => elliptic(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
            "p384" => elliptic(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
            "p521" => elliptic(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", 66),
            "ed25519" => {
                let pair = Ed25519KeyPair::from_pkcs8(der).map_err(unreadable)?;
                Ok(Self::Ed25519(Box::new(pair)))
            }
            _ => Ok(Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).map_err(unreadable)?))),
        }
    }

    /// Signs. A shared secret, for the algorithms that have one, is the modulus: what an attacker knows of an RSA key.
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let failed = |_| format!("no {algorithm} by this key");
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    "HS256" => return Ok(self.hmac(message)),
                    _ => return Err(format!("no {algorithm} by an RSA key")),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::Elliptic(pair, ..) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    fn hmac(&self, message: &[u8]) -> Vec<u8> {
        let secret = match self {
            Self::Rsa(pair) => PublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n,
            Self::Elliptic(..) | Self::Ed25519(_) => Vec::new(),
        };
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
    }

    /// The public key (RFC 7517).
    pub(super) fn public(&self) -> Result<Value, String> {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        Ok(match self {
            Self::Rsa(pair) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": text(&parts.n), "e": text(&parts.e)})
            }
            Self::Elliptic(pair, curve, size) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(*size);
                json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
            }
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())}),
        })
    }
}
