//! Istio's `headers` block: set, add and remove headers of requests and responses.

use crate::format_string::{CapturedHeaders, FormatPhase, FormatString, ResponseRenderer};
use crate::{HeaderEdit, HostError, Stream};
use http_match::header_name;
use plugin_config::{At, ListMap, Quoted};

plugin_config::object! {
    /// Changes to the headers of one message (Istio's `HeaderOperations`). Remove acts first, then set, then add.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HeaderOperationsConfig {
        /// Replaces, or creates: name to format string. An empty value does nothing.
        pub set: ListMap<String> = "set",
        /// Appends one more: name to format string.
        pub add: ListMap<String> = "add",
        /// Removes all of the name.
        pub remove: Vec<String> = "remove",
    }

    /// Changes to the headers of requests and responses (Istio's `Headers`).
    #[derive(Clone, Debug, PartialEq)]
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
    /// How many request headers all format strings read.
    reads: usize,
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
        Self::compile_parts(written.request.as_ref(), written.response.as_ref(), at)
    }

    /// Compiles what stands in the fields `request` and `response` of the place of `at`.
    pub fn compile_parts(
        request: Option<&HeaderOperationsConfig>,
        response: Option<&HeaderOperationsConfig>,
        at: &mut At,
    ) -> Option<Self> {
        let mut authority = None;
        let request = at.field("request", |at| match request {
            Some(request) => {
                let rewrite = compile_authority(request, at);
                let level = Level::compile(request, Message::Request, at);
                authority = rewrite?;
                level
            }
            None => Some(None),
        });
        let response = at.field("response", |at| match response {
            Some(response) => Level::compile(response, Message::Response, at),
            None => Some(None),
        });
        let (request, response) = (request?, response?);
        let reads = request.iter().chain(&response).map(Level::request_headers).sum();
        Some(Self {
            request: request.into_iter().collect(),
            response: response.into_iter().collect(),
            authority,
            reads,
        })
    }

    /// These operations, and after them those of another level: what `later` sets wins.
    pub fn then(mut self, later: Self) -> Self {
        self.request.extend(later.request);
        self.response.extend(later.response);
        self.authority = later.authority.or(self.authority);
        self.reads += later.reads;
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

    /// Whether [`HeaderOperations::capture`] keeps anything: without, the response needs nothing of the request.
    pub fn captures(&self) -> bool {
        self.response.iter().any(|level| level.request_headers() > 0)
    }

    /// Changes the request headers.
    ///
    /// # Errors
    /// When the host refuses; later changes are not tried then.
    pub fn apply_request(&self, stream: &mut Stream<'_>) -> Result<(), HostError> {
        // Each header costs a hostcall, unless the map has been fetched: from the second on that is cheaper.
        if self.reads > 1 {
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
    let mut found: Option<String> = None;
    let mut good = true;
    for (name, value) in values.iter().filter(|(name, _)| is_authority(name)) {
        let checked = at.key(name, |at| match found {
            Some(_) => at.fault(Quoted(value), "the authority is given twice"),
            None => check_authority(value, at),
        });
        good &= checked.is_some();
        found.get_or_insert_with(|| value.clone());
    }
    good.then_some(found)
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
    let mut compiled = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        if let Some(name) = at.index(i, |at| compile_name(name, at)) {
            compiled.push(HeaderEdit::Remove(name.into()));
        }
    }
    (compiled.len() == names.len()).then_some(compiled)
}

/// Compiles set or add, ordered by name as Istio has it.
fn compile_values(values: &ListMap<String>, message: Message, add: bool, at: &mut At) -> Option<Vec<Value>> {
    let mut compiled: Vec<(&str, Value)> = Vec::with_capacity(values.len());
    let mut good = true;
    for (name, value) in values.iter() {
        if message == Message::Request && is_authority(name) {
            continue;
        }
        match at.key(name, |at| compile_value(name, value, message, add, at)) {
            // In its place at once: there are few, and a sort weighs more in a module than all of this.
            Some(Some(value)) => compiled.insert(compiled.partition_point(|(other, _)| *other <= name), (name, value)),
            Some(None) => {}
            None => good = false,
        }
    }
    good.then(|| compiled.into_iter().map(|(_, value)| value).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Vec<String> {
        let written = plugin_config::from_slice::<HeadersConfig>(json.as_bytes()).unwrap();
        let mut at = At::root();
        let compiled = HeaderOperations::compile(&written, &mut at);
        let faults: Vec<String> = at.into_faults().iter().map(|fault| fault.path.clone()).collect();
        assert_eq!(compiled.is_none(), !faults.is_empty());
        faults
    }

    fn compile(json: &str) -> HeaderOperations {
        let written = plugin_config::from_slice(json.as_bytes()).unwrap();
        HeaderOperations::compile(&written, &mut At::root()).unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let json = r#"{"request":{"set":{"b":"1","a":"%REQ(x)%"},"remove":["c"]},"response":{"add":{"d":"2"}}}"#;
        let written: HeadersConfig = plugin_config::from_slice(json.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&written).unwrap(), json);
    }

    #[test]
    fn values_act_in_the_order_of_their_names() {
        let operations = compile(r#"{"request": {"set": {"b": "1", "a": "2"}, "add": {"a": "3"}, "remove": ["Z"]}}"#);
        let [level] = operations.request.as_slice() else { panic!("one level") };
        let edits: Vec<&HeaderEdit> = level
            .values
            .iter()
            .map(|value| match value {
                Value::Fixed(edit) => edit,
                Value::Formatted { .. } => panic!("no format strings"),
            })
            .collect();
        let set = |name: &str, value: &str| HeaderEdit::Set(name.to_owned(), value.as_bytes().to_vec());
        assert_eq!(edits, [&set("a", "2"), &set("b", "1"), &HeaderEdit::Add("a".into(), b"3".to_vec())]);
        assert_eq!(level.remove, [HeaderEdit::Remove("z".into())]);
    }

    #[test]
    fn tells_at_configure_time_what_there_is_to_do() {
        let tell = |json: &str| {
            let operations = compile(json);
            (operations.has_request(), operations.has_response(), operations.captures(), operations.reads)
        };
        assert_eq!(tell("{}"), (false, false, false, 0));
        assert_eq!(tell(r#"{"request": {"set": {"a": ""}}, "response": {}}"#), (false, false, false, 0));
        assert_eq!(tell(r#"{"request": {"set": {"host": "a"}}}"#), (true, false, false, 0));
        assert_eq!(tell(r#"{"request": {"add": {"a": "%REQ(x)%%REQ(y)%"}}}"#), (true, false, false, 2));
        assert_eq!(tell(r#"{"response": {"remove": ["a"]}}"#), (false, true, false, 0));
        assert_eq!(tell(r#"{"response": {"set": {"a": "%RESP(x)%"}}}"#), (false, true, false, 0));
        assert_eq!(tell(r#"{"response": {"set": {"a": "%REQ(x)%"}}}"#), (false, true, true, 1));
    }

    #[test]
    fn a_later_level_rewrites_the_authority() {
        let authority = |operations: HeaderOperations| match operations.authority {
            Some(HeaderEdit::Set(_, value)) => String::from_utf8(value).unwrap(),
            other => panic!("{other:?}"),
        };
        let (first, second) = (compile(r#"{"request": {"set": {"host": "a"}}}"#), compile("{}"));
        assert_eq!(authority(first.clone().then(second.clone())), "a");
        assert_eq!(authority(second.then(first.clone())), "a");
        let both = compile(r#"{"request": {"set": {"Host": "b"}, "add": {":authority": "c"}}}"#);
        assert_eq!(authority(first.clone().then(both.clone())), "b");
        assert_eq!(authority(both.then(first.clone())), "a");
        assert_eq!(authority(first.with_authority("d")), "d");
    }

    #[test]
    fn refuses_every_fault_at_once() {
        let json = r#"{
            "request": {"remove": ["host"], "set": {":path": "/", "Host": "", ":authority": "a", "a b": "x"}, "add": {"x": "%"}},
            "response": {"remove": [""], "set": {":status": "1", "host": "a"}}
        }"#;
        let expected = [
            "request.set.Host",
            "request.set[\":authority\"]",
            "request.remove[0]",
            "request.set[\":path\"]",
            "request.set[\"a b\"]",
            "request.add.x",
            "response.remove[0]",
            "response.set[\":status\"]",
            "response.set.host",
        ];
        let mut found = faults(json);
        let mut expected: Vec<String> = expected.iter().map(|path| (*path).to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        for authority in ["a b", "a/b", "%REQ(x)%", "a?b", "a@b", ""] {
            assert_eq!(
                faults(&format!(r#"{{"request": {{"add": {{"host": "{authority}"}}}}}}"#)),
                ["request.add.host"]
            );
        }
        assert!(faults(r#"{"request": {"add": {"host": "[::1]:80"}}}"#).is_empty());
    }
}
