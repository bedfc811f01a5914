//! The peer's identity: every URI SAN of the verified client certificate.
//!
//! Envoy's own property for them gives only the first one, and a second one could then slip past a DENY rule. So the
//! certificate itself is read, which Envoy does give, and each certificate only once.

use std::rc::Rc;

/// The URI SANs of one certificate, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    ids: Vec<Box<[u8]>>,
}

impl Peer {
    /// A peer with these URI SANs.
    pub fn new<S: AsRef<[u8]>>(ids: impl IntoIterator<Item = S>) -> Self {
        Self { ids: ids.into_iter().map(|id| id.as_ref().into()).collect() }
    }

    /// The URI SANs, in the certificate's order.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.iter().map(AsRef::as_ref)
    }

    /// Reads a certificate as PEM; percent-encoding is undone, which some Envoy versions apply to it.
    ///
    /// # Errors
    /// What is wrong with it: an identity that cannot be read must not pass for none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        let der = decode_pem(&percent_decoded(pem)).ok_or("it is not a PEM certificate")?;
        let ids = uri_sans(&der).ok_or("it is not a DER certificate with one list of subject alternative names")?;
        if ids.iter().any(|id| id.contains(&0)) {
            return Err("a URI in it contains NUL");
        }
        Ok(Self { ids })
    }
}

/// A certificate's digest, and whose it is.
type Place = (Box<[u8]>, Rc<Peer>);

/// Peers by the SHA-256 digest of their certificate: equal digests mean equal certificates, whatever the connection.
#[derive(Debug, Default)]
pub struct PeerCache {
    /// Each digest has one place. A digest is spread evenly as it is: no hash is needed to find the place.
    places: Vec<Option<Place>>,
}

/// Certificates remembered. A workload seldom has more clients between two rotations of their certificates.
const PLACES: usize = 1024;

impl PeerCache {
    /// The peer with the certificate of this digest, if it was seen before.
    pub fn get(&self, digest: &[u8]) -> Option<Rc<Peer>> {
        let (known, peer) = self.places.get(place(digest))?.as_ref()?;
        (known.as_ref() == digest).then(|| peer.clone())
    }

    /// Remembers a peer, instead of whichever had its place.
    pub fn insert(&mut self, digest: &[u8], peer: Peer) -> Rc<Peer> {
        let peer = Rc::new(peer);
        self.places.resize(PLACES, None);
        if let Some(place) = self.places.get_mut(place(digest)) {
            *place = Some((digest.into(), peer.clone()));
        }
        peer
    }
}

/// From the first bytes of a digest, whether as hexadecimal digits or as bytes.
fn place(digest: &[u8]) -> usize {
    digest.iter().take(4).fold(0, |place, &byte| place * 31 + usize::from(byte)) % PLACES
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                out.extend(hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4) | low));
                after
            }
            _ => {
                out.push(byte);
                after
            }
        };
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The bytes of the first certificate in a PEM text: a chain starts with the peer's own.
fn decode_pem(pem: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let start = pem.windows(BEGIN.len()).position(|window| window == BEGIN)?.checked_add(BEGIN.len())?;
    let body = pem.get(start..)?;
    let end = body.iter().position(|&byte| byte == b'-')?;
    decode_base64(body.get(..end)?)
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for &byte in text.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

/// DER tags met on the way to the names (X.690, RFC 5280 appendix A).
const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// `[3]` of TBSCertificate: its extensions.
const EXTENSIONS: u8 = 0xA3;
/// `[6]` of GeneralName: uniformResourceIdentifier.
const URI: u8 = 0x86;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1D, 0x11];

/// The URI SANs of a certificate. `None` when it is malformed, or has more than one list of names: which of them
/// counts is then a matter of opinion.
fn uri_sans(certificate: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut sans: Option<Vec<Box<[u8]>>> = None;
    let certificate = expect(SEQUENCE, &mut { certificate })?;
    let mut fields = expect(SEQUENCE, &mut { certificate })?;
    while !fields.is_empty() {
        let (tag, value) = element(&mut fields)?;
        if tag != EXTENSIONS {
            continue;
        }
        let mut extensions = expect(SEQUENCE, &mut { value })?;
        while !extensions.is_empty() {
            let extension = expect(SEQUENCE, &mut extensions)?;
            if let Some(names) = alternative_names(extension)? {
                let names = uris(names)?;
                if sans.replace(names).is_some() {
                    return None;
                }
            }
        }
    }
    Some(sans.unwrap_or_default())
}

/// The value of a subjectAltName extension; the inner `None` for any other.
fn alternative_names(mut extension: &[u8]) -> Option<Option<&[u8]>> {
    if expect(OBJECT_IDENTIFIER, &mut extension)? != SUBJECT_ALT_NAME {
        return Some(None);
    }
    let (mut tag, mut value) = element(&mut extension)?;
    if tag == BOOLEAN {
        (tag, value) = element(&mut extension)?;
    }
    if tag != OCTET_STRING {
        return None;
    }
    expect(SEQUENCE, &mut { value }).map(Some)
}

fn uris(mut names: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut uris = Vec::new();
    while !names.is_empty() {
        let (tag, value) = element(&mut names)?;
        if tag == URI {
            uris.push(value.into());
        }
    }
    Some(uris)
}

fn expect<'a>(tag: u8, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    element(input).filter(|(found, _)| *found == tag).map(|(_, value)| value)
}

/// Takes one element off the front of `input`: its tag and its contents. Long tags do not occur in a certificate.
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        (digits.iter().fold(0, |length, &digit| (length << 8) | usize::from(digit)), rest)
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, value))
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    /// Names: spiffe://td/ns/a/sa/b, DNS foo.example, spiffe://td/ns/c/sa/d, IP 1.2.3.4.
    const TWO_URIS: &str = include_str!("testdata/two_uris.pem");

    #[test]
    fn reads_every_uri() {
        let peer = Peer::from_pem(TWO_URIS.as_bytes()).unwrap();
        assert_eq!(peer, Peer::new(["spiffe://td/ns/a/sa/b", "spiffe://td/ns/c/sa/d"]));
    }

    #[test]
    fn undoes_percent_encoding() {
        let encoded = TWO_URIS.replace('\n', "%0A").replace('+', "%2B").replace('/', "%2f").replace(' ', "%20");
        assert_eq!(Peer::from_pem(encoded.as_bytes()).unwrap().ids().count(), 2);
    }

    #[test]
    fn a_damaged_certificate_is_not_an_empty_one() {
        for text in ["", "spiffe://td", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"] {
            assert!(Peer::from_pem(text.as_bytes()).is_err(), "{text}");
        }
        let der = decode_pem(TWO_URIS.as_bytes()).unwrap();
        for end in 0..der.len() {
            assert_eq!(uri_sans(&der[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_cache_never_mixes_certificates_up() {
        let mut cache = PeerCache::default();
        assert_eq!(cache.get(b"0"), None);
        for i in 0..3 * PLACES {
            let digest = format!("{i:064x}").chars().rev().collect::<String>();
            cache.insert(digest.as_bytes(), Peer::new([digest.as_bytes()]));
            assert_eq!(cache.get(digest.as_bytes()).unwrap().ids().next(), Some(digest.as_bytes()));
        }
        let kept = cache.places.iter().flatten().count();
        assert!(kept > PLACES / 8, "{kept}");
        for (digest, peer) in cache.places.iter().flatten() {
            assert_eq!(peer.ids().next(), Some(digest.as_ref()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        use proptest::prelude::*;
        let der = decode_pem(TWO_URIS.as_bytes()).unwrap();
        proptest!(|(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4))| {
            let mut der = der.clone();
            for (index, byte) in changes {
                let index = index.index(der.len());
                der[index] = byte;
            }
            uri_sans(&der);
        });
    }
}
