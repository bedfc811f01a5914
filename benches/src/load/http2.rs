//! HTTP/2 as a load speaks it: frames made once and told apart by their first nine bytes. A whole client would cost
//! more than the proxies do.

use crate::load::connection::Codec;
use crate::load::{PATH, REQUEST};
use std::io;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME: usize = 9;

/// Types of frames (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Their flags.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The first byte of a header block that begins with `:status: 200` (RFC 7541 appendix A).
const STATUS_200: u8 = 0x88;

/// What a stream, and the connection, may receive: as good as no bound.
const WINDOW: u32 = (1 << 31) - 1;
/// What a connection starts with.
const FIRST_WINDOW: u32 = 65_535;
/// After so many bytes the connection's window is filled up again.
const REFILL: usize = 1 << 29;

pub(super) struct Http2 {
    block: Vec<u8>,
    stream: u32,
    received: usize,
}

impl Http2 {
    pub(super) fn new(secure: bool) -> Self {
        Self { block: block(secure), stream: 1, received: 0 }
    }
}

/// The request's header block, without the dynamic table: each is like every other.
fn block(secure: bool) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        // All are shorter than 127 bytes, beyond which a length takes more than one.
        out.push(u8::try_from(text.len()).unwrap_or(0));
        out.extend_from_slice(text.as_bytes());
    };
    // GET, http or https, and `:path`, by their indexes in the static table.
    let mut out = vec![0x82, if secure { 0x87 } else { 0x86 }, 0x04];
    text(&mut out, PATH);
    for (name, value) in REQUEST {
        match name {
            ":authority" => out.push(0x01),
            _ => {
                out.push(0x00);
                text(&mut out, name);
            }
        }
        text(&mut out, value);
    }
    out
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

impl Codec for Http2 {
    fn open(&mut self, out: &mut Vec<u8>) {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        out.extend_from_slice(PREFACE);
        let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
        frame(out, SETTINGS, 0, 0, &setting);
        frame(out, WINDOW_UPDATE, 0, 0, &(WINDOW - FIRST_WINDOW).to_be_bytes());
    }

    fn request(&mut self, out: &mut Vec<u8>) {
        frame(out, HEADERS, END_STREAM | END_HEADERS, self.stream, &self.block);
        self.stream += 2;
    }

    fn take(&mut self, read: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, usize)> {
        let (mut used, mut answers) = (0, 0);
        while let Some([a, b, c, kind, flags, _, _, _, _]) = read.get(used..used + FRAME) {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let Some(payload) = read.get(used + FRAME..used + FRAME + length) else { break };
            used += FRAME + length;
            match *kind {
                DATA => self.data(length, out),
                HEADERS if payload.first() != Some(&STATUS_200) => {
                    return Err(io::Error::other(format!("a header block that is not of a 200: {payload:02x?}")));
                }
                SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                RST_STREAM | GOAWAY => {
                    return Err(io::Error::other(format!("the proxy ends it: frame {kind}, {payload:02x?}")));
                }
                _ => {}
            }
            answers += usize::from(matches!(*kind, DATA | HEADERS) && flags & END_STREAM != 0);
        }
        Ok((used, answers))
    }
}

impl Http2 {
    fn data(&mut self, length: usize, out: &mut Vec<u8>) {
        self.received += length;
        if self.received >= REFILL {
            frame(out, WINDOW_UPDATE, 0, 0, &u32::try_from(self.received).unwrap_or(WINDOW).to_be_bytes());
            self.received = 0;
        }
    }
}
