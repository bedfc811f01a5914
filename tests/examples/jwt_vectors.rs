//! Prints a configuration with keys of every kind, and a token for each algorithm:
//! `cargo run -p outrigger-tests --example jwt_vectors > filters/jwt-authn/tests/vectors.txt`.

use outrigger_tests::jwt;
use serde_json::json;

const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

fn main() -> Result<(), String> {
    let jwks = jwt::expand("${jwks rsa p256 p384 p521 ed25519}")?;
    println!("{}", json!({"providers": [{"name": "p", "issuer": "https://issuer.test", "jwks": jwks}]}));
    for algorithm in ALGORITHMS {
        println!("{}", jwt::expand(&format!(r#"${{jwt {algorithm} {{"iss":"https://issuer.test","sub":"alice"}}}}"#))?);
    }
    Ok(())
}
