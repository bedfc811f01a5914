//! Bodies: each framing in one piece and byte by byte, and every way to be refused.

use bytes::BytesMut;

use super::{SMALL, text};
use crate::http::http1::body::{BodyDecoder, Decoded};
use crate::http::http1::head::Framing;
use crate::http::refused::Refused;

/// What a body came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    data: String,
    /// `None` while more is needed; else trailers as text, or why it was refused.
    end: Option<Result<String, Refused>>,
    /// What was left of the input.
    rest: usize,
}

/// Feeds `input` in pieces of `size` bytes.
fn feed(framing: Framing, input: &[u8], size: usize) -> Outcome {
    let mut decoder = BodyDecoder::new(framing, SMALL);
    let (mut buffer, mut data, mut fed) = (BytesMut::new(), Vec::new(), 0);
    loop {
        let end = match decoder.decode(&mut buffer) {
            Ok(Decoded::NeedMore) if fed == input.len() => None,
            Ok(Decoded::NeedMore) => {
                let piece = &input[fed..(fed + size).min(input.len())];
                buffer.extend_from_slice(piece);
                fed += piece.len();
                continue;
            }
            Ok(Decoded::Data(bytes)) => {
                assert!(!bytes.is_empty());
                data.extend_from_slice(&bytes);
                continue;
            }
            Ok(Decoded::End) => Some(Ok(String::new())),
            Ok(Decoded::Trailers(trailers)) => Some(Ok(text(&trailers))),
            Err(refused) => Some(Err(refused)),
        };
        assert_eq!(decoder.is_done(), matches!(end, Some(Ok(_))));
        match &end {
            Some(Err(refused)) => assert_eq!(decoder.decode(&mut buffer), Err(*refused)),
            Some(Ok(_)) => assert_eq!(decoder.decode(&mut buffer), Ok(Decoded::End)),
            None => {}
        }
        let rest = if matches!(end, Some(Ok(_))) { buffer.len() + input.len() - fed } else { 0 };
        return Outcome { data: String::from_utf8(data).unwrap(), end, rest };
    }
}

fn decode(framing: Framing, input: &str) -> Outcome {
    let whole = feed(framing, input.as_bytes(), usize::MAX / 2);
    for size in [1, 2, 3, 7] {
        assert_eq!(feed(framing, input.as_bytes(), size), whole, "{input:?} in pieces of {size}");
    }
    whole
}

fn done(data: &str, trailers: &str, rest: usize) -> Outcome {
    Outcome { data: data.to_owned(), end: Some(Ok(trailers.to_owned())), rest }
}

fn more(data: &str) -> Outcome {
    Outcome { data: data.to_owned(), end: None, rest: 0 }
}

#[test]
fn by_length() {
    assert_eq!(decode(Framing::None, "GET /"), done("", "", 5));
    assert_eq!(decode(Framing::Length(0), "GET /"), done("", "", 5));
    assert_eq!(decode(Framing::Length(3), "abcGET /"), done("abc", "", 5));
    assert_eq!(decode(Framing::Length(3), "ab"), more("ab"));
    assert_eq!(decode(Framing::Length(u64::MAX), "ab"), more("ab"));
    assert_eq!(decode(Framing::UntilClose, "ab\r\n"), more("ab\r\n"));
}

#[test]
fn by_chunks() {
    for (input, expected) in [
        ("0\r\n\r\n", done("", "", 0)),
        ("3\r\nabc\r\n0\r\n\r\nGET /", done("abc", "", 5)),
        ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", done("abcde", "", 0)),
        ("A\r\n0123456789\r\n000\r\n\r\n", done("0123456789", "", 0)),
        ("a\r\n0123456789\r\n0\r\n\r\n", done("0123456789", "", 0)),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", done("abc", "", 0)),
        ("3;a=b;c=\"d e\"\r\nabc\r\n0;x\r\n\r\n", done("abc", "", 0)),
        ("2\r\n\r\n\r\n0\r\n\r\n", done("\r\n", "", 0)),
        ("0\r\nGrpc-Status: 0\r\nx: \r\nx:2\r\n\r\nGET", done("", "grpc-status=0|x=|x=2", 3)),
        ("", more("")),
        ("3", more("")),
        ("3\r", more("")),
        ("3\r\na", more("a")),
        ("3\r\nabc", more("abc")),
        ("3\r\nabc\r\n", more("abc")),
        ("3\r\nabc\r\n0\r\n", more("abc")),
        ("3\r\nabc\r\n0\r\na: 1\r\n", more("abc")),
        ("ffffffffffffffff\r\nabc", more("abc")),
    ] {
        assert_eq!(decode(Framing::Chunked, input), expected, "{input:?}");
    }
}

#[test]
fn hostile_chunks() {
    let long_extension = format!("3;{}\r\nabc\r\n", "a".repeat(16_385));
    let many_extensions = "1;aaaaaaaa\r\nx\r\n".repeat(2_049);
    for (input, data, refused) in [
        ("\r\n", "", Refused::CODEC_ERROR),
        ("g\r\n", "", Refused::CODEC_ERROR),
        ("-1\r\n", "", Refused::CODEC_ERROR),
        ("+1\r\n", "", Refused::CODEC_ERROR),
        ("0x3\r\n", "", Refused::CODEC_ERROR),
        (" 3\r\n", "", Refused::CODEC_ERROR),
        ("3 \r\n", "", Refused::CODEC_ERROR),
        ("3 ;a\r\n", "", Refused::CODEC_ERROR),
        ("3\t\r\n", "", Refused::CODEC_ERROR),
        ("1_0\r\n", "", Refused::CODEC_ERROR),
        ("3.\r\n", "", Refused::CODEC_ERROR),
        (";a\r\n", "", Refused::CODEC_ERROR),
        ("3\n", "", Refused::CODEC_ERROR),
        ("3\rabc", "", Refused::CODEC_ERROR),
        ("3\r\r\n", "", Refused::CODEC_ERROR),
        ("3;a\nabc\r\n", "", Refused::CODEC_ERROR),
        ("3;a\rb\r\n", "", Refused::CODEC_ERROR),
        ("3;\0\r\n", "", Refused::CODEC_ERROR),
        ("00000000000000003\r\nabc", "", Refused::CODEC_ERROR),
        ("10000000000000000\r\n", "", Refused::CODEC_ERROR),
        ("3\r\nabcd", "abc", Refused::CODEC_ERROR),
        ("3\r\nabc\n0\r\n", "abc", Refused::CODEC_ERROR),
        ("3\r\nabc0\r\n\r\n", "abc", Refused::CODEC_ERROR),
        ("3\r\nabc\rx", "abc", Refused::CODEC_ERROR),
        ("3\r\nabc\r\n\r\n0", "abc", Refused::CODEC_ERROR),
        ("0\n\n", "", Refused::CODEC_ERROR),
        ("0\r\n\n", "", Refused::CODEC_ERROR),
        ("0\r\na: 1\n\r\n", "", Refused::CODEC_ERROR),
        ("0\r\na : 1\r\n\r\n", "", Refused::CODEC_ERROR),
        ("0\r\n a: 1\r\n\r\n", "", Refused::CODEC_ERROR),
        ("0\r\na: 1\r\n b\r\n\r\n", "", Refused::CODEC_ERROR),
        ("0\r\n:path: /\r\n\r\n", "", Refused::CODEC_ERROR),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", "", Refused::CODEC_ERROR),
        ("0\r\na: \0\r\n\r\n", "", Refused::INVALID_CHARACTERS),
        ("0\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n", "", Refused::TOO_MANY_TRAILERS),
        (&format!("0\r\na: {}\r\n\r\n", "a".repeat(300)), "", Refused::TRAILERS_TOO_LARGE),
        (&format!("0\r\na: {}", "a".repeat(300)), "", Refused::TRAILERS_TOO_LARGE),
        (&long_extension, "", Refused::CODEC_ERROR),
        (&many_extensions, &"x".repeat(2_048), Refused::CODEC_ERROR),
    ] {
        let expected = Outcome { data: data.to_owned(), end: Some(Err(refused)), rest: 0 };
        assert_eq!(decode(Framing::Chunked, input), expected, "{input:.60?}");
    }
}

#[test]
fn ends_of_connections() {
    for (framing, input, expected) in [
        (Framing::UntilClose, "ab", Ok(Decoded::End)),
        (Framing::None, "", Ok(Decoded::End)),
        (Framing::Length(2), "ab", Ok(Decoded::End)),
        (Framing::Length(3), "ab", Err(Refused::CODEC_ERROR)),
        (Framing::Chunked, "0\r\n\r\n", Ok(Decoded::End)),
        (Framing::Chunked, "0\r\n", Err(Refused::CODEC_ERROR)),
        (Framing::Chunked, "", Err(Refused::CODEC_ERROR)),
    ] {
        let mut decoder = BodyDecoder::new(framing, SMALL);
        let mut buffer = BytesMut::from(input);
        while let Ok(Decoded::Data(_)) = decoder.decode(&mut buffer) {}
        assert_eq!(decoder.eof(), expected, "{framing:?} {input:?}");
        assert_eq!(decoder.is_done(), expected.is_ok());
        assert_eq!(decoder.eof(), expected, "twice");
        assert_eq!(decoder.decode(&mut BytesMut::from("x")).is_err(), expected.is_err());
    }
}

#[test]
fn remaining_length() {
    let mut decoder = BodyDecoder::new(Framing::Length(5), SMALL);
    assert_eq!(decoder.remaining_length(), Some(5));
    assert!(matches!(decoder.decode(&mut BytesMut::from("abc")), Ok(Decoded::Data(_))));
    assert_eq!(decoder.remaining_length(), Some(2));
    assert_eq!(BodyDecoder::new(Framing::None, SMALL).remaining_length(), Some(0));
    assert_eq!(BodyDecoder::new(Framing::Chunked, SMALL).remaining_length(), None);
    assert_eq!(BodyDecoder::new(Framing::UntilClose, SMALL).remaining_length(), None);
}
