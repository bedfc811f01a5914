//! One stream, as the filter whose turn it is sees it.

use crate::chain::StreamState;
use crate::{HeaderEdit, HostError, LocalReply, Root, StreamId};
use http_match::HeaderList;
use std::borrow::Cow;

/// A filter's view of a stream during a callback.
pub struct Stream<'a> {
    pub(crate) id: StreamId,
    pub(crate) root: Root<'a>,
    pub(crate) state: &'a mut StreamState,
}

impl<'a> Stream<'a> {
    /// The stream's id, for what a filter remembers about it until `on_stream_end`.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Whether the message ended with its headers: no body, no trailers. In the request body callback, whether this is
    /// the last of it.
    pub fn end_of_stream(&self) -> bool {
        self.state.end_of_stream
    }

    /// What belongs to the plugin: time, chance, calls, metrics.
    pub fn root(&mut self) -> &mut Root<'a> {
        &mut self.root
    }

    /// All request headers, as earlier filters left them. Fetched from the host once per module; readable only until
    /// the request goes on, so copy what a later phase needs.
    ///
    /// # Errors
    /// When the host does not give them any more (later phase, stream gone).
    pub fn request_headers(&mut self) -> Result<&HeaderList, HostError> {
        self.state.request.list(self.root.host)
    }

    /// All request headers, if this or an earlier filter of the module has fetched them already.
    pub fn fetched_request_headers(&self) -> Option<&HeaderList> {
        self.state.request.fetched()
    }

    /// The first value of one request header: cheaper than the map when the header is mostly absent.
    ///
    /// # Errors
    /// As [`Stream::request_headers`].
    pub fn request_header(&mut self, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.state.request.first(name, self.root.host)
    }

    /// Replaces every request header `name` (lower-case) by one.
    ///
    /// # Errors
    /// When the host refuses, which it does once the request has gone on.
    pub fn set_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), HostError> {
        self.edit_request(&HeaderEdit::Set(name.to_owned(), value.to_vec()))
    }

    /// Appends one more request header `name`.
    ///
    /// # Errors
    /// As [`Stream::set_request_header`].
    pub fn add_request_header(&mut self, name: &str, value: &[u8]) -> Result<(), HostError> {
        self.edit_request(&HeaderEdit::Add(name.to_owned(), value.to_vec()))
    }

    /// Removes every request header `name`.
    ///
    /// # Errors
    /// As [`Stream::set_request_header`].
    pub fn remove_request_header(&mut self, name: &str) -> Result<(), HostError> {
        self.edit_request(&HeaderEdit::Remove(name.to_owned()))
    }

    /// Changes the request headers.
    ///
    /// # Errors
    /// As [`Stream::set_request_header`].
    pub fn edit_request(&mut self, edit: &HeaderEdit) -> Result<(), HostError> {
        self.state.request.edit(edit, self.root.host)
    }

    /// All response headers, as filters nearer to the upstream left them.
    ///
    /// # Errors
    /// Outside the response header callback.
    pub fn response_headers(&mut self) -> Result<&HeaderList, HostError> {
        self.state.response.list(self.root.host)
    }

    /// Changes the response headers.
    ///
    /// # Errors
    /// Outside the response header callback.
    pub fn edit_response(&mut self, edit: &HeaderEdit) -> Result<(), HostError> {
        self.state.response.edit(edit, self.root.host)
    }

    /// The bytes that the request body callback reports, `length` of them.
    ///
    /// # Errors
    /// Outside the request body callback.
    pub fn request_body(&mut self, length: usize) -> Result<Vec<u8>, HostError> {
        self.root.host.request_body(0, length)
    }

    /// A property of the stream; `None` when it does not exist. One that a filter of the same module has set costs no
    /// hostcall. [`HostError`] is not absence: whoever decides about access must tell them apart.
    ///
    /// # Errors
    /// When the host cannot answer.
    pub fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        if let [name] = path
            && let Some((_, value)) = self.state.properties.iter().find(|(key, _)| key == name)
        {
            return Ok(Some(value.clone()));
        }
        self.root.host.property(path)
    }

    /// Sets a property for the later filters of this stream, in this module and in others, and for access logs
    /// (`%FILTER_STATE(wasm.outrigger.route)%` in Envoy).
    ///
    /// # Errors
    /// When the host refuses; later filters of this module see the value all the same.
    pub fn set_property(&mut self, name: impl Into<Cow<'static, str>>, value: &[u8]) -> Result<(), HostError> {
        let name = name.into();
        let outcome = self.root.host.set_property(&[&name], value);
        if self.state.linked {
            self.state.properties.retain(|(key, _)| *key != name);
            self.state.properties.push((name, value.to_vec()));
        }
        outcome
    }

    /// Closes the connection, in [`crate::Filter::on_new_connection`]; what the callback returns afterwards does not
    /// matter.
    pub fn close(&mut self) {
        self.state.replied = true;
        if let Err(error) = self.root.host.close_connection() {
            // The connection stays held, which the host ends in time.
            log::error!("a connection could not be closed: {error}");
        }
    }

    /// Answers the request from here; what the callback returns afterwards does not matter. The reply passes the
    /// response callbacks of this filter and of those before it.
    pub fn reply(&mut self, reply: &LocalReply) {
        self.state.replied = true;
        if let Err(error) = self.root.host.send_local_reply(reply) {
            // The stream stays paused and its idle timeout ends it: nothing else can be done for it from here.
            log::error!("the reply {} ({}) could not be sent: {error}", reply.status, reply.details);
        }
    }
}
