//! HTTP/2 frame by frame (RFC 9113), with header blocks that say anything.

use crate::raw::Socket;
use std::collections::BTreeMap;

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    #![expect(missing_docs, reason = "RFC 9113 section 6 names them")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    #![expect(missing_docs, reason = "RFC 9113 section 6 names them")]
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// ENHANCE_YOUR_CALM: who is sent away for its behaviour.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// What a frame carries at most, unless more was agreed.
const LARGEST: usize = 16_384;

/// A frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// 0: of the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// As it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &stream, &self.payload].concat()
    }

    /// A number in its payload, at this byte.
    fn number(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
    }
}

/// What became of a stream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Its headers; interim responses are left out.
    pub headers: BTreeMap<String, String>,
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: BTreeMap<String, String>,
    /// It has its end.
    pub whole: bool,
    /// It was reset, for this reason.
    pub reset: Option<u32>,
}

impl Answer {
    /// The status; 0 without.
    pub fn status(&self) -> u16 {
        self.headers.get(":status").and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One end of a connection.
pub struct Http2 {
    /// The bytes below.
    pub socket: Socket,
    encoder: fluke_hpack::Encoder<'static>,
    decoder: fluke_hpack::Decoder<'static>,
    /// Streams as they come in.
    streams: BTreeMap<u32, Answer>,
    /// GOAWAY was received, for this reason.
    pub goaway: Option<u32>,
    /// The header block under way: its stream, whether the stream ends with it, its bytes.
    block: Option<(u32, bool, Vec<u8>)>,
    /// The other side's windows: at first, what was given since, what has been used.
    initial_window: i64,
    given: BTreeMap<u32, i64>,
    spent: BTreeMap<u32, i64>,
}

impl Http2 {
    /// A client that has said its preface and empty settings.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(port: u16) -> Result<Self, String> {
        Self::connect_with(port, &[])
    }

    /// A client whose settings are these: number and value.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect_with(port: u16, settings: &[(u16, u32)]) -> Result<Self, String> {
        let mut client = Self::over(Socket::connect(port)?);
        client.socket.send([PREFACE, &settings_frame(settings).bytes()].concat())?;
        Ok(client)
    }

    /// A server that has read the preface, and said its settings.
    ///
    /// # Errors
    /// When the client does not speak HTTP/2.
    pub fn accept(mut socket: Socket, settings: &[(u16, u32)]) -> Result<Self, String> {
        let preface = socket.take(PREFACE.len())?;
        if preface.as_deref() != Some(PREFACE) {
            return Err(format!("no preface: {preface:?}"));
        }
        socket.send(settings_frame(settings).bytes())?;
        Ok(Self::over(socket))
    }

    fn over(socket: Socket) -> Self {
        let (encoder, decoder) = (fluke_hpack::Encoder::new(), fluke_hpack::Decoder::new());
        let (streams, given, spent) = Default::default();
        let (goaway, block, initial_window) = (None, None, 65_535);
        Self { socket, encoder, decoder, streams, goaway, block, initial_window, given, spent }
    }

    /// Sends frames.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn send(&mut self, frames: &[Frame]) -> Result<(), String> {
        self.socket.send(frames.iter().flat_map(Frame::bytes).collect::<Vec<u8>>())
    }

    /// A header block.
    pub fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        self.encoder.encode(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// Sends the headers of a stream.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn headers(&mut self, stream: u32, headers: &[(&str, &str)], end: bool) -> Result<(), String> {
        let block = self.block(headers);
        let (ends, parts) = (if end { flag::END_STREAM } else { 0 }, block.chunks(LARGEST).count());
        let frames = block.chunks(LARGEST).enumerate().map(|(number, part)| {
            let kind = if number == 0 { kind::HEADERS } else { kind::CONTINUATION };
            let flags = if number == 0 { ends } else { 0 } | if number + 1 == parts { flag::END_HEADERS } else { 0 };
            Frame::new(kind, flags, stream, part)
        });
        self.send(&frames.collect::<Vec<_>>())
    }

    /// Reads until both sides have acknowledged the other's settings.
    ///
    /// # Errors
    /// When the other side does not.
    pub fn settled(&mut self) -> Result<(), String> {
        loop {
            let frame = self.frame()?.ok_or("the connection has ended")?;
            // A server's own settings are the first that it says.
            if frame.kind == kind::SETTINGS && frame.flags & flag::ACK != 0 {
                return Ok(());
            }
        }
    }

    /// Sends the headers of a GET without a body.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn get(&mut self, stream: u32, path: &str) -> Result<(), String> {
        self.headers(
            stream,
            &[(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", path)],
            true,
        )
    }

    /// Sends a part of a body.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn data(&mut self, stream: u32, bytes: impl Into<Vec<u8>>, end: bool) -> Result<(), String> {
        self.send(&[Frame::new(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, bytes)])
    }

    /// Sends a body of any size, as the other side's windows allow.
    ///
    /// # Errors
    /// When the other side has gone, or opens its windows no more.
    pub fn send_body(&mut self, stream: u32, body: &[u8], end: bool) -> Result<(), String> {
        let mut rest = body;
        loop {
            let room = self.send_window(0).min(self.send_window(stream)).max(0);
            let size = usize::try_from(room).unwrap_or(0).min(rest.len()).min(LARGEST);
            if size == 0 && !rest.is_empty() {
                self.frame()?.ok_or("the connection has ended")?;
                continue;
            }
            let (part, left) = rest.split_at(size);
            rest = left;
            self.data(stream, part, end && rest.is_empty())?;
            let spent = i64::try_from(size).unwrap_or(0);
            *self.spent.entry(0).or_default() += spent;
            *self.spent.entry(stream).or_default() += spent;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// What may be sent on a stream, or on all together.
    fn send_window(&self, stream: u32) -> i64 {
        let initial = if stream == 0 { 65_535 } else { self.initial_window };
        let given = self.given.get(&stream).copied().unwrap_or(0);
        initial + given - self.spent.get(&stream).copied().unwrap_or(0)
    }

    /// Resets a stream: CANCEL.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn cancel(&mut self, stream: u32) -> Result<(), String> {
        self.send(&[Frame::new(kind::RST_STREAM, 0, stream, 8u32.to_be_bytes())])
    }

    /// The next frame, after it has been taken note of: settings and pings are acknowledged. `None` at the end.
    ///
    /// # Errors
    /// When nothing comes, or it is no HTTP/2.
    pub fn frame(&mut self) -> Result<Option<Frame>, String> {
        let Some(head) = self.socket.take(9)? else { return Ok(None) };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let Some(payload) = self.socket.take(length)? else { return Ok(None) };
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        self.note(&frame)?;
        Ok(Some(frame))
    }

    fn note(&mut self, frame: &Frame) -> Result<(), String> {
        let ends = frame.flags & flag::END_STREAM != 0;
        match frame.kind {
            kind::WINDOW_UPDATE => *self.given.entry(frame.stream).or_default() += i64::from(frame.number(0)),
            kind::SETTINGS | kind::PING if frame.flags & flag::ACK == 0 => {
                if frame.kind == kind::SETTINGS {
                    self.note_settings(&frame.payload);
                }
                let payload = if frame.kind == kind::PING { frame.payload.clone() } else { Vec::new() };
                // It may have gone since.
                let _ = self.send(&[Frame::new(frame.kind, flag::ACK, 0, payload)]);
            }
            kind::GOAWAY => self.goaway = Some(frame.number(4)),
            kind::RST_STREAM => self.streams.entry(frame.stream).or_default().reset = Some(frame.number(0)),
            kind::DATA => {
                let stream = self.streams.entry(frame.stream).or_default();
                stream.body.extend_from_slice(&frame.payload);
                stream.whole = ends;
            }
            kind::HEADERS => self.block = Some((frame.stream, ends, frame.payload.clone())),
            kind::CONTINUATION => {
                let (_, _, block) = self.block.as_mut().ok_or("a CONTINUATION of nothing")?;
                block.extend_from_slice(&frame.payload);
            }
            _ => {}
        }
        let complete = matches!(frame.kind, kind::HEADERS | kind::CONTINUATION) && frame.flags & flag::END_HEADERS != 0;
        match self.block.take_if(|_| complete) {
            Some((stream, ends, block)) => self.note_headers(stream, ends, &block),
            None => Ok(()),
        }
    }

    fn note_settings(&mut self, payload: &[u8]) {
        const INITIAL_WINDOW_SIZE: u8 = 4;
        for setting in payload.chunks_exact(6) {
            if setting[..2] == [0, INITIAL_WINDOW_SIZE] {
                self.initial_window = i64::from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
            }
        }
    }

    fn note_headers(&mut self, stream: u32, ends: bool, block: &[u8]) -> Result<(), String> {
        let fields = self.decoder.decode(block).map_err(|error| format!("HPACK: {error:?}"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let fields: BTreeMap<String, String> =
            fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        if fields.get(":status").is_some_and(|status| status.starts_with('1')) {
            return Ok(());
        }
        let stream = self.streams.entry(stream).or_default();
        stream.whole = ends;
        if stream.headers.is_empty() {
            stream.headers = fields;
        } else {
            stream.trailers = fields;
        }
        Ok(())
    }

    /// Gives back what a stream, and the connection, have received.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn open_windows(&mut self, stream: u32, bytes: u32) -> Result<(), String> {
        let update = |stream| Frame::new(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes());
        self.send(&[update(0), update(stream)])
    }

    /// Reads until a stream has ended, one way or the other: what became of it. Windows are kept open.
    ///
    /// # Errors
    /// When it does not end.
    pub fn answer(&mut self, stream: u32) -> Result<Answer, String> {
        loop {
            let known = self.streams.get(&stream);
            if known.is_some_and(|known| known.whole || known.reset.is_some()) {
                return Ok(self.streams.remove(&stream).unwrap_or_default());
            }
            match self.frame()? {
                None => return Ok(self.streams.remove(&stream).unwrap_or_default()),
                Some(frame) if frame.kind == kind::DATA && !frame.payload.is_empty() => {
                    let size = u32::try_from(frame.payload.len()).unwrap_or(0);
                    // It may have gone since.
                    let _ = self.open_windows(frame.stream, size);
                }
                Some(_) => {}
            }
        }
    }

    /// Reads until the headers of a stream have come.
    ///
    /// # Errors
    /// When they do not come.
    pub fn head(&mut self, stream: u32) -> Result<BTreeMap<String, String>, String> {
        loop {
            match self.streams.get(&stream) {
                Some(known) if !known.headers.is_empty() => return Ok(known.headers.clone()),
                Some(known) if known.reset.is_some() => return Err(format!("{known:?}")),
                _ => {}
            }
            if self.frame()?.is_none() {
                return Err(format!("the connection has ended (GOAWAY {:?})", self.goaway));
            }
        }
    }

    /// Reads until a client's stream has ended, one way or the other: its number, and what came. `None` at the end.
    ///
    /// # Errors
    /// When nothing comes.
    pub fn request(&mut self) -> Result<Option<(u32, Answer)>, String> {
        loop {
            let ended = self.streams.iter().find(|(_, known)| known.whole || known.reset.is_some());
            if let Some(stream) = ended.map(|(stream, _)| *stream) {
                return Ok(self.streams.remove(&stream).map(|request| (stream, request)));
            }
            match self.frame()? {
                None => return Ok(None),
                Some(frame) if frame.kind == kind::DATA && !frame.payload.is_empty() => {
                    let size = u32::try_from(frame.payload.len()).unwrap_or(0);
                    let _ = self.open_windows(frame.stream, size);
                }
                Some(_) => {}
            }
        }
    }

    /// Streams that have begun, and have not been taken as requests.
    pub fn open(&self) -> usize {
        self.streams.len()
    }

    /// What has come of a stream so far.
    pub fn so_far(&self, stream: u32) -> Answer {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// Reads until the connection ends: the reason that GOAWAY gave, if there was one.
    ///
    /// # Errors
    /// When it does not end.
    pub fn ended(&mut self) -> Result<Option<u32>, String> {
        while self.frame()?.is_some() {}
        Ok(self.goaway)
    }
}

fn settings_frame(settings: &[(u16, u32)]) -> Frame {
    let each = settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
    Frame::new(kind::SETTINGS, 0, 0, each.collect::<Vec<u8>>())
}
