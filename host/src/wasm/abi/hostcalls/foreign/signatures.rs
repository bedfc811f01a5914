//! Signatures that guests have checked and made: RSA with PKCS #1 v1.5, and ECDSA. What goes wrong is said in the
//! result, in Envoy's words; the call itself fails only where its arguments are no arguments.

use crate::wasm::abi::status::Status;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as algorithms, EcdsaKeyPair, EcdsaSigningAlgorithm, ParsedPublicKey, RsaEncoding};
use aws_lc_rs::signature::{RsaKeyPair, VerificationAlgorithm};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};

/// `envoy.source.extensions.common.wasm.VerifySignatureArguments`.
#[derive(Clone, PartialEq, Message)]
struct VerifyArguments {
    #[prost(string, tag = "1")]
    hash: String,
    /// SubjectPublicKeyInfo in DER.
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
    /// The same in PEM, instead.
    #[prost(string, tag = "5")]
    key_pem: String,
}

/// `envoy.source.extensions.common.wasm.VerifySignatureResult`.
#[derive(Clone, PartialEq, Message)]
struct VerifyResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(string, tag = "2")]
    error: String,
}

/// `envoy.source.extensions.common.wasm.SignArguments`.
#[derive(Clone, PartialEq, Message)]
struct SignArguments {
    #[prost(string, tag = "1")]
    hash: String,
    /// PKCS #8, PKCS #1 or SEC 1 in DER.
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    text: Vec<u8>,
    /// The same in PEM, instead.
    #[prost(string, tag = "4")]
    key_pem: String,
}

/// `envoy.source.extensions.common.wasm.SignResult`.
#[derive(Clone, PartialEq, Message)]
struct SignResult {
    #[prost(bool, tag = "1")]
    result: bool,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    #[prost(string, tag = "3")]
    error: String,
}

/// What can be checked with a hash. Keys are tried in this order: the first that has one of this kind.
type Checks = &'static [&'static dyn VerificationAlgorithm];

/// What can be made with a hash.
struct Makes {
    rsa: &'static dyn RsaEncoding,
    ecdsa: &'static [&'static EcdsaSigningAlgorithm],
}

/// SHA-1 is there for signatures that others have made; none is made with it here. Envoy has SHA-224 as well.
fn checks(hash: &str) -> Option<Checks> {
    Some(match hash {
        "sha1" => &[
            &algorithms::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            &algorithms::ECDSA_P256_SHA1_ASN1,
            &algorithms::ECDSA_P521_SHA1_ASN1,
        ],
        "sha256" => &[
            &algorithms::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            &algorithms::ECDSA_P256_SHA256_ASN1,
            &algorithms::ECDSA_P384_SHA256_ASN1,
            &algorithms::ECDSA_P521_SHA256_ASN1,
            &algorithms::ECDSA_P256K1_SHA256_ASN1,
        ],
        "sha384" => &[
            &algorithms::RSA_PKCS1_2048_8192_SHA384,
            &algorithms::ECDSA_P256_SHA384_ASN1,
            &algorithms::ECDSA_P384_SHA384_ASN1,
            &algorithms::ECDSA_P521_SHA384_ASN1,
        ],
        "sha512" => &[
            &algorithms::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            &algorithms::ECDSA_P256_SHA512_ASN1,
            &algorithms::ECDSA_P384_SHA512_ASN1,
            &algorithms::ECDSA_P521_SHA512_ASN1,
        ],
        _ => return None,
    })
}

fn makes(hash: &str) -> Option<Makes> {
    Some(match hash {
        "sha256" => Makes {
            rsa: &algorithms::RSA_PKCS1_SHA256,
            ecdsa: &[
                &algorithms::ECDSA_P256_SHA256_ASN1_SIGNING,
                &algorithms::ECDSA_P521_SHA256_ASN1_SIGNING,
                &algorithms::ECDSA_P256K1_SHA256_ASN1_SIGNING,
            ],
        },
        "sha384" => Makes {
            rsa: &algorithms::RSA_PKCS1_SHA384,
            ecdsa: &[&algorithms::ECDSA_P384_SHA384_ASN1_SIGNING, &algorithms::ECDSA_P521_SHA384_ASN1_SIGNING],
        },
        "sha512" => Makes { rsa: &algorithms::RSA_PKCS1_SHA512, ecdsa: &[&algorithms::ECDSA_P521_SHA512_ASN1_SIGNING] },
        _ => return None,
    })
}

/// `verify_signature`.
pub(super) fn verify(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = VerifyArguments::decode(arguments).map_err(|_| Status::BadArgument)?;
    let from_pem = |pem: &[u8]| SubjectPublicKeyInfoDer::from_pem_slice(pem).ok().map(|key| key.to_vec());
    let key = the_one(&arguments.key, &arguments.key_pem, from_pem)?;
    let error = check(&arguments, &key).err().unwrap_or_default();
    Ok(VerifyResult { result: error.is_empty(), error }.encode_to_vec())
}

fn check(arguments: &VerifyArguments, key: &[u8]) -> Result<(), String> {
    let algorithms = checks(&arguments.hash.to_ascii_lowercase()).ok_or_else(|| unsupported(&arguments.hash))?;
    let key = algorithms.iter().find_map(|algorithm| ParsedPublicKey::new(*algorithm, key).ok());
    let key = key.ok_or("Failed to initialize digest verify.")?;
    let verified = key.verify_sig(&arguments.text, &arguments.signature);
    verified.map_err(|_| "Failed to verify digest. Error code: 0".to_owned())
}

/// `sign`.
pub(super) fn sign(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = SignArguments::decode(arguments).map_err(|_| Status::BadArgument)?;
    let from_pem = |pem: &[u8]| PrivateKeyDer::from_pem_slice(pem).ok().map(|key| key.secret_der().to_vec());
    let key = the_one(&arguments.key, &arguments.key_pem, from_pem)?;
    let (signature, error) = match make(&arguments, &key) {
        Ok(signature) => (signature, String::new()),
        Err(error) => (Vec::new(), error),
    };
    Ok(SignResult { result: error.is_empty(), signature, error }.encode_to_vec())
}

fn make(arguments: &SignArguments, key: &[u8]) -> Result<Vec<u8>, String> {
    let Makes { rsa, ecdsa } =
        makes(&arguments.hash.to_ascii_lowercase()).ok_or_else(|| unsupported(&arguments.hash))?;
    let (random, failed) = (SystemRandom::new(), |_| "Failed to sign digest.".to_owned());
    if let Ok(pair) = RsaKeyPair::from_pkcs8(key).or_else(|_| RsaKeyPair::from_der(key)) {
        let mut signature = vec![0; pair.public_modulus_len()];
        return pair.sign(rsa, &random, &arguments.text, &mut signature).map(|()| signature).map_err(failed);
    }
    let pair = ecdsa.iter().find_map(|algorithm| EcdsaKeyPair::from_private_key_der(algorithm, key).ok());
    let pair = pair.ok_or("Invalid key type: private key required for signing operation.")?;
    pair.sign(&random, &arguments.text).map(|signature| signature.as_ref().to_vec()).map_err(failed)
}

fn unsupported(hash: &str) -> String {
    format!("{hash} is not supported.")
}

/// The key, of which there must be one: in DER or in PEM. A PEM that holds none is a key that fits nothing.
fn the_one(der: &[u8], pem: &str, read: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Result<Vec<u8>, Status> {
    match (der.is_empty(), pem.is_empty()) {
        (false, true) => Ok(der.to_vec()),
        (true, false) => Ok(read(pem.as_bytes()).unwrap_or_default()),
        _ => Err(Status::BadArgument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::KeyPair;

    const TEXT: &[u8] = b"what is signed";

    fn verified(hash: &str, key: &[u8], key_pem: &str, signature: &[u8], text: &[u8]) -> Result<VerifyResult, Status> {
        let (key, key_pem, signature, text) = (key.to_vec(), key_pem.to_owned(), signature.to_vec(), text.to_vec());
        let arguments = VerifyArguments { hash: hash.to_owned(), key, signature, text, key_pem };
        verify(&arguments.encode_to_vec()).map(|result| VerifyResult::decode(&*result).unwrap())
    }

    fn signed(hash: &str, key: &[u8], key_pem: &str) -> Result<SignResult, Status> {
        let (key, key_pem) = (key.to_vec(), key_pem.to_owned());
        let arguments = SignArguments { hash: hash.to_owned(), key, text: TEXT.to_vec(), key_pem };
        sign(&arguments.encode_to_vec()).map(|result| SignResult::decode(&*result).unwrap())
    }

    /// Private keys and their public ones, and the hashes that each signs with.
    fn keys() -> Vec<(Vec<u8>, Vec<u8>, &'static [&'static str])> {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let rsa_public: aws_lc_rs::encoding::PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
        let rsa_private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let hashes: &[&str] = &["sha256", "SHA384", "sha512"];
        let mut keys = vec![(rsa_private.as_ref().to_vec(), rsa_public.as_ref().to_vec(), hashes)];
        let curves: [(&EcdsaSigningAlgorithm, &[&str]); 3] = [
            (&algorithms::ECDSA_P256_SHA256_ASN1_SIGNING, &["sha256"]),
            (&algorithms::ECDSA_P384_SHA384_ASN1_SIGNING, &["sha384"]),
            (&algorithms::ECDSA_P521_SHA512_ASN1_SIGNING, &["sha256", "sha384", "sha512"]),
        ];
        for (algorithm, hashes) in curves {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let public: aws_lc_rs::encoding::PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            keys.push((pair.to_pkcs8v1().unwrap().as_ref().to_vec(), public.as_ref().to_vec(), hashes));
        }
        keys
    }

    #[test]
    fn what_is_signed_is_verified() {
        for (private, public, hashes) in keys() {
            for hash in hashes {
                let signature = signed(hash, &private, "").unwrap();
                assert!(signature.result, "{hash}: {}", signature.error);
                let right = VerifyResult { result: true, error: String::new() };
                assert_eq!(verified(hash, &public, "", &signature.signature, TEXT), Ok(right), "{hash}");
                let error = "Failed to verify digest. Error code: 0".to_owned();
                let wrong = Ok(VerifyResult { result: false, error });
                assert_eq!(verified(hash, &public, "", &signature.signature, b"another text"), wrong);
                assert_eq!(verified(hash, &public, "", b"no signature", TEXT), wrong);
                assert_eq!(verified(hash, &public, "", b"", TEXT), wrong);
                let other = if *hash == "sha256" { "sha512" } else { "sha256" };
                assert_eq!(verified(other, &public, "", &signature.signature, TEXT), wrong);
            }
        }
    }

    #[test]
    fn keys_in_pem() {
        let pem = |kind: &str, der: &[u8]| {
            let text = data_encoding::BASE64.encode(der);
            format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
        };
        for (private, public, hashes) in keys() {
            let (private, public) = (pem("PRIVATE KEY", &private), pem("PUBLIC KEY", &public));
            let signature = signed(hashes[0], b"", &private).unwrap().signature;
            assert!(verified(hashes[0], b"", &public, &signature, TEXT).unwrap().result);
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let (private, public, _) = keys().remove(0);
        let said = |result: Result<SignResult, Status>| result.unwrap().error;
        for hash in ["md5", "sha1", "sha224", ""] {
            assert_eq!(said(signed(hash, &private, "")), format!("{hash} is not supported."));
        }
        let invalid = "Invalid key type: private key required for signing operation.";
        for (key, pem) in [(&b"no key"[..], ""), (b"", "no pem"), (&public, "")] {
            assert_eq!(said(signed("sha256", key, pem)), invalid);
        }
        let checked = |hash: &str, key: &[u8], pem: &str| verified(hash, key, pem, b"x", TEXT).unwrap().error;
        assert_eq!(checked("md5", &public, ""), "md5 is not supported.");
        assert_eq!(checked("sha1", &public, ""), "Failed to verify digest. Error code: 0");
        assert_eq!(checked("sha256", b"no key", ""), "Failed to initialize digest verify.");
        assert_eq!(checked("sha256", b"", "no pem"), "Failed to initialize digest verify.");
        for (key, pem) in [(&b"both"[..], "both"), (b"", "")] {
            assert_eq!(signed("sha256", key, pem), Err(Status::BadArgument));
            assert_eq!(verified("sha256", key, pem, b"", TEXT), Err(Status::BadArgument));
        }
        assert_eq!((verify(b"\xff"), sign(b"\xff")), (Err(Status::BadArgument), Err(Status::BadArgument)));
    }
}
