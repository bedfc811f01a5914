//! Whatever arrives: nothing panics, nothing is consumed that did not arrive, pieces make no difference, and what is
//! written reads back as it was.

use bytes::BytesMut;
use http_match::HeaderList;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{SMALL, request_in_pieces, response_in_pieces};
use crate::http::authority::normalize_authority;
use crate::http::http1::body::{BodyDecoder, Decoded};
use crate::http::http1::encode::{CHUNK_END, chunk_header, last_chunk, request_head, response_head};
use crate::http::http1::head::{Framing, HeadLimits, parse_request, parse_response};
use crate::http::hygiene::{strip_client_headers, strip_hop_by_hop_response, strip_trailers};
use crate::http::path::{PathNormalization, PathOutcome, normalize_path};
use crate::http::validate;

/// Messages glued from pieces that matter to a parser, and from any bytes.
fn glued(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const REQUEST: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST http://a?b HTTP/1.1\r\n",
    "GET ",
    "/a",
    " HTTP/1.1",
    "CONNECT a:1",
    "Host: h\r\n",
    "\r\n",
    "\r",
    "\n",
    ": ",
    ":",
    " ",
    "\t",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "X: y\r\n",
    "\0",
    "Expect: 100-continue\r\n",
    "HTTP/1.0\r\n",
];
const RESPONSE: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 204\r\n",
    "HTTP/1.1 ",
    "304",
    " ",
    "\r\n",
    "\r",
    "\n",
    ": ",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: keep-alive\r\n",
    "X: y\r\n",
    "\0",
    "\t",
];
const CHUNKS: &[&str] = &[
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "1\r\n",
    "a",
    "\r\n",
    "\r",
    "\n",
    ";x=y",
    "ffffffffffffffff",
    "X: y\r\n",
    " ",
    "0",
    "\0",
];
const PATHS: &[&str] = &[
    "/", "//", ".", "..", "/../", "\\", "%2e", "%2F", "%5c", "%25", "%", "%00", "a", "%41", "?", "#", "{", "%7b", " ",
];

/// Decodes in pieces of `size`: data, whether it ended, what was left.
fn decode(input: &[u8], framing: Framing, size: usize) -> (Vec<u8>, Option<bool>, usize) {
    let mut decoder = BodyDecoder::new(framing, SMALL);
    let (mut buffer, mut data, mut pieces) = (BytesMut::new(), Vec::new(), input.chunks(size));
    let mut left = input.len();
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Decoded::Data(bytes)) => data.extend_from_slice(&bytes),
            Ok(Decoded::NeedMore) => match pieces.next() {
                None => return (data, None, 0),
                Some(piece) => {
                    left -= piece.len();
                    buffer.extend_from_slice(piece);
                }
            },
            Ok(_) => return (data, Some(true), left + buffer.len()),
            Err(_) => return (data, Some(false), 0),
        }
    }
}

fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let value = "[!-~\u{a1}-\u{ff}]([ -~\t]{0,12}[!-~])?".prop_map(String::into_bytes);
    vec(("x-[a-z0-9_.-]{1,8}", value), 0..8)
}

fn list_of(pseudo: &[(&str, &[u8])], fields: &[(String, Vec<u8>)]) -> HeaderList {
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    pseudo.iter().copied().chain(fields).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn requests_in_pieces(bytes in glued(REQUEST)) {
        let whole = parse_request(&bytes, "http", &SMALL);
        prop_assert_eq!(&request_in_pieces(&bytes, &SMALL), &whole);
        if let Ok(Some((mut head, used))) = whole {
            prop_assert!(used <= bytes.len());
            prop_assert!(head.headers.iter().all(|(name, value)| validate::name_and_value(name, value)));
            let _ = strip_client_headers(&mut head.headers);
        }
    }

    #[test]
    fn responses_in_pieces(bytes in glued(RESPONSE)) {
        let whole = parse_response(&bytes, b"GET", &SMALL);
        prop_assert_eq!(&response_in_pieces(&bytes, b"GET", &SMALL), &whole);
        if let Ok(Some((mut head, used))) = whole {
            prop_assert!(used <= bytes.len());
            strip_hop_by_hop_response(&mut head.headers);
            prop_assert_eq!(head.headers.get(":status").map(<[u8]>::len), Some(3));
        }
    }

    #[test]
    fn bodies_in_pieces(bytes in glued(CHUNKS), size in 1_usize..9, length in 0_u64..40) {
        for framing in [Framing::Chunked, Framing::Length(length), Framing::UntilClose, Framing::None] {
            let whole = decode(&bytes, framing, bytes.len().max(1));
            prop_assert!(whole.0.len() + whole.2 <= bytes.len());
            prop_assert_eq!(decode(&bytes, framing, size), whole);
        }
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse_request(&bytes, "https", &HeadLimits { bytes: 64, fields: 2, target: 8 });
        let _ = parse_response(&bytes, b"HEAD", &SMALL);
        if let Ok(normal) = normalize_authority(&bytes, 80) {
            let again = normalize_authority(&normal, 80).unwrap();
            prop_assert_eq!(&again, &normal);
        }
        let mut trailers: HeaderList = [("x", bytes.as_slice())].into_iter().collect();
        strip_trailers(&mut trailers);
        prop_assert_eq!(trailers.len(), 1);
    }

    #[test]
    fn paths_are_normal_once(path in glued(PATHS)) {
        use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None as Off};
        let path = [b"/", path.as_slice()].concat();
        for mode in [Off, Base, MergeSlashes, DecodeAndMergeSlashes] {
            let Ok(PathOutcome::Changed(normal)) = normalize_path(&path, mode) else { continue };
            prop_assert!(normal.starts_with(b"/"));
            prop_assert_eq!(normalize_path(&normal, mode), Ok(PathOutcome::Unchanged));
            let end = normal.iter().position(|&byte| byte == b'?').unwrap_or(normal.len());
            let mut segments = normal[..end].split(|&byte| byte == b'/');
            prop_assert!(segments.all(|segment| segment != b"." && segment != b".."));
        }
    }

    #[test]
    fn requests_read_back(fields in fields(), path in "/[!-\"$-~]{0,20}", length in 0_u64..1000) {
        let pseudo: [(&str, &[u8]); 4] =
            [(":authority", b"a.example:81"), (":path", path.as_bytes()), (":method", b"PUT"), (":scheme", b"http")];
        let headers = list_of(&pseudo, &fields);
        prop_assert_eq!(validate::request(&headers, &HeadLimits::default()), Ok(()));
        for framing in [Framing::None, Framing::Length(length), Framing::Chunked] {
            let mut out = Vec::new();
            request_head(&mut out, &headers, framing, None).unwrap();
            let (mut head, used) = parse_request(&out, "http", &HeadLimits::default()).unwrap().unwrap();
            prop_assert_eq!((used, head.framing), (out.len(), framing));
            head.headers.remove("content-length");
            head.headers.remove("transfer-encoding");
            prop_assert_eq!(&head.headers, &headers);
        }
    }

    #[test]
    fn responses_read_back(fields in fields(), status in 200_u16..=599, length in 0_u64..1000) {
        let digits = status.to_string();
        let headers = list_of(&[(":status", digits.as_bytes())], &fields);
        prop_assert_eq!(validate::response(&headers, &HeadLimits::default()), Ok(status));
        let bodiless = status == 204 || status == 304;
        for framing in [Framing::Length(length), Framing::Chunked, Framing::UntilClose, Framing::None] {
            if bodiless != (framing == Framing::None) { continue }
            let mut out = Vec::new();
            response_head(&mut out, &headers, framing, false, None).unwrap();
            let (mut head, used) = parse_response(&out, b"GET", &HeadLimits::default()).unwrap().unwrap();
            prop_assert_eq!((used, head.status, head.framing), (out.len(), status, framing));
            for name in ["content-length", "transfer-encoding", "connection"] {
                head.headers.remove(name);
            }
            prop_assert_eq!(&head.headers, &headers);
        }
    }

    #[test]
    fn chunks_read_back(chunks in vec(vec(any::<u8>(), 1..40), 0..6), size in 1_usize..50) {
        let mut out = Vec::new();
        for chunk in &chunks {
            chunk_header(&mut out, chunk.len());
            out.extend_from_slice(chunk);
            out.extend_from_slice(CHUNK_END);
        }
        last_chunk(&mut out, None);
        prop_assert_eq!(decode(&out, Framing::Chunked, size), (chunks.concat(), Some(true), 0));
    }
}
