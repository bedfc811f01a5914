//! A message as its receiver reads it: written as the router's peers write it, and read again to the last byte.

use bytes::BytesMut;
use host::http::http1::body::{BodyDecoder, Decoded};
use host::http::http1::encode;
use host::http::http1::head::{Framing, HeadLimits, parse_request, parse_response};
use http_match::HeaderList;

/// What may be written: filters' additions included.
pub(crate) const LIMITS: HeadLimits = HeadLimits { bytes: 2 * 61_440, fields: 200, target: 2 * 16_384 };

/// The body does not fit what the head said of it.
#[derive(Debug)]
pub(crate) struct Misframed;

/// One message on its way.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    bytes: Vec<u8>,
    left: Option<Framing>,
}

/// A message that was read again.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) headers: HeaderList,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderList,
    /// It has its end.
    pub(crate) whole: bool,
}

impl Wire {
    pub(crate) fn request(&mut self, headers: &HeaderList, end: bool) -> Result<(), Misframed> {
        let says_so = matches!(headers.get(":method"), Some(b"POST" | b"PUT" | b"PATCH"));
        let framing = match end {
            true if says_so => Framing::Length(0),
            true => Framing::None,
            false => declared(headers)?,
        };
        encode::request_head(&mut self.bytes, headers, framing, None).map_err(|_| Misframed)?;
        self.left = Some(framing);
        Ok(())
    }

    pub(crate) fn response(&mut self, headers: &HeaderList, end: bool, head: bool) -> Result<(), Misframed> {
        let none = head || matches!(headers.get(":status"), Some(b"204" | b"304"));
        let framing = match end {
            _ if none => Framing::None,
            true => Framing::Length(0),
            false => declared(headers)?,
        };
        encode::response_head(&mut self.bytes, headers, framing, false, None).map_err(|_| Misframed)?;
        self.left = Some(framing);
        Ok(())
    }

    pub(crate) fn data(&mut self, bytes: &[u8], end: bool) -> Result<(), Misframed> {
        match self.left {
            Some(Framing::Length(left)) => {
                let left = left.checked_sub(bytes.len() as u64).filter(|left| *left == 0 || !end).ok_or(Misframed)?;
                self.left = Some(Framing::Length(left));
                self.bytes.extend_from_slice(bytes);
            }
            Some(Framing::Chunked) => {
                if !bytes.is_empty() {
                    encode::chunk_header(&mut self.bytes, bytes.len());
                    self.bytes.extend_from_slice(&[bytes, encode::CHUNK_END].concat());
                }
                if end {
                    encode::last_chunk(&mut self.bytes, None);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn trailers(&mut self, trailers: &HeaderList) -> Result<(), Misframed> {
        if self.left == Some(Framing::Chunked) {
            encode::last_chunk(&mut self.bytes, Some(trailers));
            return Ok(());
        }
        self.data(&[], true)
    }

    /// Reads it as an upstream would: nothing else may be on the connection.
    pub(crate) fn read_request(&self) -> Read {
        let parsed = parse_request(&self.bytes, "http", &LIMITS);
        let (head, size) = parsed.expect("a request that a strict reader takes").expect("a whole head");
        self.read(head.headers, head.framing, size)
    }

    /// Reads it as a client would.
    pub(crate) fn read_response(&self, method: &[u8]) -> Read {
        let parsed = parse_response(&self.bytes, method, &LIMITS);
        let (head, size) = parsed.expect("a response that a strict reader takes").expect("a whole head");
        self.read(head.headers, head.framing, size)
    }

    fn read(&self, headers: HeaderList, framing: Framing, size: usize) -> Read {
        let mut rest = BytesMut::from(&self.bytes[size..]);
        let mut decoder = BodyDecoder::new(framing, LIMITS);
        let mut read = Read { headers, ..Read::default() };
        loop {
            match decoder.decode(&mut rest).expect("a body that a strict reader takes") {
                Decoded::Data(bytes) => read.body.extend_from_slice(&bytes),
                Decoded::Trailers(trailers) => read.trailers = trailers,
                Decoded::End => break,
                Decoded::NeedMore => return read,
            }
            if decoder.is_done() {
                break;
            }
        }
        assert!(rest.is_empty(), "bytes behind the message: {:?}", rest);
        read.whole = true;
        read
    }
}

/// The framing that a head with a body to come asks for.
fn declared(headers: &HeaderList) -> Result<Framing, Misframed> {
    let Some(length) = headers.get("content-length") else { return Ok(Framing::Chunked) };
    let length = str::from_utf8(length).ok().and_then(|length| length.parse().ok());
    length.map(Framing::Length).ok_or(Misframed)
}
