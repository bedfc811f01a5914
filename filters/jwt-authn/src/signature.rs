//! Signatures of tokens (RFC 7518, 3; RFC 8037), verified by RustCrypto's crates.

use rsa::BoxedUint;
use sha2::{Sha256, Sha384, Sha512};

/// Which hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// RS256, RS384, RS512
    Pkcs1(Hash),
    /// PS256, PS384, PS512
    Pss(Hash),
    /// ES256
    P256,
    /// ES384
    P384,
    /// ES512
    P521,
    /// EdDSA, of which only Ed25519 is meant.
    Ed25519,
    /// HS256, HS384, HS512: no key of ours verifies these, as a public key taken for their secret would let everybody
    /// sign.
    Hmac,
}

impl Algorithm {
    /// The algorithm of a name; `None` for any other, and for `none`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Pkcs1(Hash::Sha256),
            "RS384" => Self::Pkcs1(Hash::Sha384),
            "RS512" => Self::Pkcs1(Hash::Sha512),
            "PS256" => Self::Pss(Hash::Sha256),
            "PS384" => Self::Pss(Hash::Sha384),
            "PS512" => Self::Pss(Hash::Sha512),
            "ES256" => Self::P256,
            "ES384" => Self::P384,
            "ES512" => Self::P521,
            "EdDSA" => Self::Ed25519,
            "HS256" | "HS384" | "HS512" => Self::Hmac,
            _ => return None,
        })
    }
}

/// A public key. Its kind decides which algorithms it can verify, whatever a token says.
#[derive(Clone, Debug)]
pub(crate) enum PublicKey {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<p521::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// Bytes of an Ed25519 signature.
pub(crate) const ED25519_SIGNATURE: usize = 64;

impl PublicKey {
    /// An RSA key of 2048 bits (RFC 7518, 3.3) to 8192, which is as far as anybody goes. Its exponent is 3 or 65537, as
    /// for Envoy: a large one is a way to make others work.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let first = exponent.iter().position(|&byte| byte != 0).unwrap_or(exponent.len());
        let exponent: u32 = match exponent.get(first..) {
            Some([3]) => 3,
            Some([1, 0, 1]) => 65537,
            _ => return Err("its exponent e is neither 3 nor 65537"),
        };
        let modulus = BoxedUint::from_be_slice_vartime(modulus);
        rsa::PublicKey::new_with_size_limits(modulus, BoxedUint::from(exponent), 2048..=8192)
            .map(|key| Self::Rsa(Box::new(key)))
            .map_err(|_| "its modulus n is not one of 2048 to 8192 bits")
    }

    /// A point of P-256, P-384 or P-521.
    pub(crate) fn elliptic(curve: &str, x: &[u8], y: &[u8]) -> Result<Self, &'static str> {
        // SEC 1, 2.3.3: uncompressed.
        let point = |size: usize| {
            let fits = x.len() == size && y.len() == size;
            fits.then(|| [&[4], x, y].concat()).ok_or("x and y do not have the size that crv needs")
        };
        const NO_POINT: &str = "x and y are no point of the curve";
        match curve {
            "P-256" => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(32)?).map(|key| Self::P256(Box::new(key))),
            "P-384" => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point(48)?);
                return key.map(|key| Self::P384(Box::new(key))).map_err(|_| NO_POINT);
            }
            "P-521" => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point(66)?);
                return key.map(|key| Self::P521(Box::new(key))).map_err(|_| NO_POINT);
            }
            _ => return Err("expected crv P-256, P-384 or P-521"),
        }
        .map_err(|_| NO_POINT)
    }

    /// An Ed25519 key. One of small order is none: signatures of it verify for many messages.
    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; 32] = x.try_into().map_err(|_| "x has not 32 bytes")?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| "x is no point of the curve")?;
        if key.is_weak() {
            return Err("x is a point of small order");
        }
        Ok(Self::Ed25519(Box::new(key)))
    }

    /// Whether tokens of an algorithm can be verified with this key.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Rsa(_), Algorithm::Pkcs1(_) | Algorithm::Pss(_))
                | (Self::P256(_), Algorithm::P256)
                | (Self::P384(_), Algorithm::P384)
                | (Self::P521(_), Algorithm::P521)
                | (Self::Ed25519(_), Algorithm::Ed25519)
        )
    }

    /// Whether a signature is this key's over a message. No signature of an algorithm that does not fit is.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        use p256::ecdsa::signature::Verifier;
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::Pkcs1(hash)) => match hash {
                Hash::Sha256 => key.pkcs1v15_verify::<Sha256>(message, signature),
                Hash::Sha384 => key.pkcs1v15_verify::<Sha384>(message, signature),
                Hash::Sha512 => key.pkcs1v15_verify::<Sha512>(message, signature),
            }
            .is_ok(),
            (Self::Rsa(key), Algorithm::Pss(hash)) => match hash {
                Hash::Sha256 => key.pss_verify::<Sha256>(message, signature),
                Hash::Sha384 => key.pss_verify::<Sha384>(message, signature),
                Hash::Sha512 => key.pss_verify::<Sha512>(message, signature),
            }
            .is_ok(),
            (Self::P256(key), Algorithm::P256) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P384(key), Algorithm::P384) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P521(key), Algorithm::P521) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::Ed25519(key), Algorithm::Ed25519) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            _ => false,
        }
    }
}
