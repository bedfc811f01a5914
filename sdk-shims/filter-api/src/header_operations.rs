//! Istio's `headers` block: set, add and remove headers of requests and responses.

use crate::format_string::{CapturedHeaders, FormatPhase, FormatString, ResponseRenderer, header_name};
use crate::{HeaderEdit, HostError, Stream};
use plugin_config::{At, ListMap, Quoted};

plugin_config::object! {
    /// Changes to the headers of one message (Istio's `HeaderOperations`). Remove acts first, then set, then add.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct HeaderOperationsConfig {
        /// Replaces, or creates: name to format string. An empty value does nothing.
        pub set: ListMap<String> = "set",
        /// Appends one more: name to format string.
        pub add: ListMap<String> = "add",
        /// Removes all of the name.
        pub remove: Vec<String> = "remove",
    }

    /// Changes to the headers of requests and responses (Istio's `Headers`).
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct HeadersConfig {
        /// Before a request goes to an upstream. `host` or `:authority` in set or add rewrites the authority.
        pub request: Option<HeaderOperationsConfig> = "request",
        /// Before a response goes to the client: of an upstream, or the proxy's own.
        pub response: Option<HeaderOperationsConfig> = "response",
    }
}

/// Compiled [`HeadersConfig`]: of one level, or of several that act one after the other.
///
/// ```text
/// on_request_headers   operations.apply_request(stream)?
///                      if operations.has_response() { remember(stream.id(), operations.capture(stream)?) }
/// on_response_headers  operations.apply_response(&captured, stream)?
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeaderOperations {
    request: Vec<Level>,
    response: Vec<Level>,
    authority: Option<HeaderEdit>,
}

/// What the response operations of one stream need of its request.
#[derive(Clone, Debug, Default)]
pub struct Captured(CapturedHeaders);

/// The changes of one level to one message, in the order in which they act.
#[derive(Clone, Debug)]
struct Level {
    remove: Vec<HeaderEdit>,
    values: Vec<Value>,
}

#[derive(Clone, Debug)]
enum Value {
    /// The same for every stream: handed to the host as it is.
    Fixed(HeaderEdit),
    Formatted {
        name: Box<str>,
        add: bool,
        format: FormatString,
    },
}

/// Which message is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

impl HeaderOperations {
    /// Compiles; faults are recorded in `at`, which stands at the `headers` field.
    pub fn compile(written: &HeadersConfig, at: &mut At) -> Option<Self> {
        let mut authority = None;
        let request = at.field("request", |at| match &written.request {
            Some(request) => {
                let rewrite = compile_authority(request, at);
                let level = Level::compile(request, Message::Request, at);
                authority = rewrite?;
                level
            }
            None => Some(None),
        });
        let response = at.field("response", |at| match &written.response {
            Some(response) => Level::compile(response, Message::Response, at),
            None => Some(None),
        });
        Some(Self { request: request?.into_iter().collect(), response: response?.into_iter().collect(), authority })
    }

    /// These operations, and after them those of another level: what `later` sets wins.
    pub fn then(mut self, later: Self) -> Self {
        self.request.extend(later.request);
        self.response.extend(later.response);
        self.authority = later.authority.or(self.authority);
        self
    }

    /// Whether requests are changed.
    pub fn has_request(&self) -> bool {
        !self.request.is_empty() || self.authority.is_some()
    }

    /// Whether responses are changed.
    pub fn has_response(&self) -> bool {
        !self.response.is_empty()
    }

    /// Whether requests get another authority.
    pub fn rewrites_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Gives requests this authority, whatever was written about it before. It must have passed [`check_authority`].
    pub fn with_authority(mut self, authority: &str) -> Self {
        self.authority = Some(HeaderEdit::Set(":authority".to_owned(), authority.as_bytes().to_vec()));
        self
    }

    /// The same operations, leaving the authority alone.
    pub fn without_authority(mut self) -> Self {
        self.authority = None;
        self
    }

    /// How many request headers are read, one by one unless the map has been fetched: from the second on the map is
    /// cheaper.
    fn request_headers_read(&self) -> usize {
        self.request.iter().chain(&self.response).map(Level::request_headers).sum()
    }

    /// Whether [`HeaderOperations::capture`] keeps anything: without, the response needs nothing of the request.
    pub fn captures(&self) -> bool {
        self.response.iter().any(|level| level.request_headers() > 0)
    }

    /// Changes the request headers.
    ///
    /// # Errors
    /// When the host refuses; later changes are not tried then.
    pub fn apply_request(&self, stream: &mut Stream<'_>) -> Result<(), HostError> {
        if self.request_headers_read() > 1 {
            stream.request_headers()?;
        }
        for level in &self.request {
            level.apply(Message::Request, stream, |format, stream| format.render_request(stream))?;
        }
        match &self.authority {
            Some(authority) => rewrite_authority(authority, stream),
            None => Ok(()),
        }
    }

    /// Keeps what the response operations need of the request, as it is after its own changes.
    ///
    /// # Errors
    /// When the host does not give the request headers.
    pub fn capture(&self, stream: &mut Stream<'_>) -> Result<Captured, HostError> {
        let mut captured = CapturedHeaders::default();
        for format in self.response.iter().flat_map(Level::formats) {
            format.capture(stream, &mut captured)?;
        }
        Ok(Captured(captured))
    }

    /// Changes the response headers.
    ///
    /// # Errors
    /// When the host refuses; later changes are not tried then.
    pub fn apply_response(&self, captured: &Captured, stream: &mut Stream<'_>) -> Result<(), HostError> {
        let mut renderer = ResponseRenderer::new(&captured.0);
        for level in &self.response {
            level.apply(Message::Response, stream, |format, stream| renderer.render(format, stream))?;
        }
        Ok(())
    }
}

impl Level {
    /// `None` inside when there is nothing to do.
    fn compile(written: &HeaderOperationsConfig, message: Message, at: &mut At) -> Option<Option<Self>> {
        let remove = at.field("remove", |at| compile_remove(&written.remove, at));
        let set = at.field("set", |at| compile_values(&written.set, message, false, at));
        let add = at.field("add", |at| compile_values(&written.add, message, true, at));
        let (remove, mut values) = (remove?, set?);
        values.extend(add?);
        Some((!remove.is_empty() || !values.is_empty()).then_some(Self { remove, values }))
    }

    fn formats(&self) -> impl Iterator<Item = &FormatString> {
        self.values.iter().filter_map(|value| match value {
            Value::Formatted { format, .. } => Some(format),
            Value::Fixed(_) => None,
        })
    }

    fn request_headers(&self) -> usize {
        self.formats().map(FormatString::request_headers).sum()
    }

    fn apply<'s>(
        &self,
        message: Message,
        stream: &mut Stream<'s>,
        mut render: impl FnMut(&FormatString, &mut Stream<'s>) -> Result<Vec<u8>, HostError>,
    ) -> Result<(), HostError> {
        for edit in &self.remove {
            message.edit(edit, stream)?;
        }
        // All values are made before the first one is set: none sees another of its level.
        let rendered: Vec<Vec<u8>> = self.formats().map(|format| render(format, stream)).collect::<Result<_, _>>()?;
        let mut rendered = rendered.into_iter();
        for value in &self.values {
            match value {
                Value::Fixed(edit) => message.edit(edit, stream)?,
                Value::Formatted { name, add, .. } => match rendered.next() {
                    Some(text) if !text.is_empty() => message.edit(&edit_of(name, *add, text), stream)?,
                    _ => {}
                },
            }
        }
        Ok(())
    }
}

impl Message {
    fn edit(self, edit: &HeaderEdit, stream: &mut Stream<'_>) -> Result<(), HostError> {
        match self {
            Self::Request => stream.edit_request(edit),
            Self::Response => stream.edit_response(edit),
        }
    }

    fn phase(self) -> FormatPhase {
        match self {
            Self::Request => FormatPhase::Request,
            Self::Response => FormatPhase::Response,
        }
    }
}

/// Gives a request another authority, and keeps the one it came with as Envoy does.
fn rewrite_authority(authority: &HeaderEdit, stream: &mut Stream<'_>) -> Result<(), HostError> {
    if let Some(original) = stream.request_header(":authority")? {
        stream.set_request_header("x-envoy-original-host", &original)?;
    }
    stream.edit_request(authority)
}

fn edit_of(name: &str, add: bool, value: Vec<u8>) -> HeaderEdit {
    if add { HeaderEdit::Add(name.to_owned(), value) } else { HeaderEdit::Set(name.to_owned(), value) }
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// The authority in set, else the one in add: Istio takes either as a rewrite.
fn compile_authority(written: &HeaderOperationsConfig, at: &mut At) -> Option<Option<HeaderEdit>> {
    let add = at.field("add", |at| find_authority(&written.add, at));
    let set = at.field("set", |at| find_authority(&written.set, at));
    let (add, set) = (add?, set?);
    Some(set.or(add).map(|authority| HeaderEdit::Set(":authority".to_owned(), authority.into_bytes())))
}

fn find_authority(values: &ListMap<String>, at: &mut At) -> Option<Option<String>> {
    let mut found = None;
    for (name, value) in values.iter().filter(|(name, _)| is_authority(name)) {
        at.key(name, |at| {
            if found.is_some() {
                return at.fault(Quoted(value), "the authority is given twice");
            }
            check_authority(value, at)
        })?;
        found = Some(value.clone());
    }
    Some(found)
}

/// Whether a text can be an authority: a name or address, with or without a port. Faults are recorded in `at`.
pub fn check_authority(authority: &str, at: &mut At) -> Option<()> {
    let unfit = |byte: u8| byte <= b' ' || byte >= 0x7F || b"/?#@%\\\"<>".contains(&byte);
    if authority.is_empty() || authority.bytes().any(unfit) {
        return at.fault(Quoted(authority), "not an authority: expected a name, or name:port, and no format string");
    }
    Some(())
}

fn compile_remove(names: &[String], at: &mut At) -> Option<Vec<HeaderEdit>> {
    let compiled: Vec<Option<HeaderEdit>> = names
        .iter()
        .enumerate()
        .map(|(i, name)| at.index(i, |at| compile_name(name, at)).map(|name| HeaderEdit::Remove(name.into())))
        .collect();
    compiled.into_iter().collect()
}

/// Compiles set or add, ordered by name as Istio has it.
fn compile_values(values: &ListMap<String>, message: Message, add: bool, at: &mut At) -> Option<Vec<Value>> {
    let mut sorted: Vec<(&str, &String)> = values.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut compiled = Vec::with_capacity(sorted.len());
    let mut good = true;
    for (name, value) in sorted {
        if message == Message::Request && is_authority(name) {
            continue;
        }
        match at.key(name, |at| compile_value(name, value, message, add, at)) {
            Some(value) => compiled.extend(value),
            None => good = false,
        }
    }
    good.then_some(compiled)
}

/// `None` inside for an empty value, which does nothing.
fn compile_value(name: &str, value: &str, message: Message, add: bool, at: &mut At) -> Option<Option<Value>> {
    let name = compile_name(name, at);
    let format = FormatString::compile(value, message.phase(), at);
    let (name, format) = (name?, format?);
    Some(match format.fixed() {
        Some([]) => None,
        Some(text) => Some(Value::Fixed(edit_of(&name, add, text.to_vec()))),
        None => Some(Value::Formatted { name, add, format }),
    })
}

/// A name that may be changed, in lower case.
fn compile_name(name: &str, at: &mut At) -> Option<Box<str>> {
    if is_authority(name) {
        return at.fault(Quoted(name), "the authority can only be rewritten, by set or add in a request");
    }
    if name.starts_with(':') {
        return at.fault(Quoted(name), "a pseudo-header cannot be changed here");
    }
    match header_name(name) {
        Some(name) => Some(name),
        None => at.fault(Quoted(name), "not a header name"),
    }
}
