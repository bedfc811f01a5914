//! [`Host`] in memory.

use crate::world::World;
use crate::{Recorded, RecordedCall};
use filter_api::{
    CallId, GrpcCall, HeaderEdit, HeaderMap, Host, HostError, HttpCall, LocalReply, MetricId, MetricKind, StreamId,
};
use http_match::HeaderList;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

/// The host of one plugin; several plugins of a proxy share one world.
#[derive(Debug)]
pub struct NativeHost {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) plugin: usize,
    pub(crate) current: Option<StreamId>,
}

impl NativeHost {
    fn record(&self, recorded: Recorded) -> RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.recorded.push(recorded);
        world
    }

    fn send(&mut self, call: RecordedCall) -> Result<CallId, HostError> {
        let mut world = self.record(Recorded::Call(call.clone()));
        if !world.settings.clusters.contains(&call.cluster) {
            return Err(HostError::BadArgument);
        }
        let id = call.id;
        world.calls.push((self.plugin, call));
        Ok(id)
    }
}

const PSEUDO_HEADERS: [&str; 3] = [":method", ":path", ":authority"];

impl Host for NativeHost {
    fn select_stream(&mut self, stream: StreamId) -> Result<(), HostError> {
        if !self.world.borrow().streams.contains_key(&stream) {
            return Err(HostError::BadArgument);
        }
        self.current = Some(stream);
        Ok(())
    }

    fn header_list(&mut self, map: HeaderMap) -> Result<HeaderList, HostError> {
        let current = self.current;
        // As Envoy: a map that is not available reads as an empty one.
        Ok(self.record(Recorded::HeaderList(map)).header_map(current, map).cloned().unwrap_or_default())
    }

    fn header(&mut self, map: HeaderMap, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        let current = self.current;
        let mut world = self.record(Recorded::Header(map, name.to_owned()));
        let list = world.header_map(current, map).ok_or(HostError::BadArgument)?;
        Ok(list.get(name).map(<[u8]>::to_vec))
    }

    fn edit_header(&mut self, map: HeaderMap, edit: &HeaderEdit) -> Result<(), HostError> {
        let current = self.current;
        let mut world = self.record(Recorded::Edit(map, edit.clone()));
        let list = world.header_map(current, map).ok_or(HostError::BadArgument)?;
        match edit {
            HeaderEdit::Set(name, value) => list.set(name, value),
            HeaderEdit::Add(name, value) => list.add(name, value),
            HeaderEdit::Remove(name) => list.remove(name),
        }
        Ok(())
    }

    fn request_body(&mut self, start: usize, length: usize) -> Result<Vec<u8>, HostError> {
        let current = self.current;
        let world = self.record(Recorded::Body);
        let stream = current.and_then(|id| world.streams.get(&id)).ok_or(HostError::BadArgument)?;
        Ok(stream.body_chunk.iter().skip(start).take(length).copied().collect())
    }

    fn call_body(&mut self, call: CallId, length: usize) -> Result<Vec<u8>, HostError> {
        let world = self.record(Recorded::Body);
        match &world.answer {
            Some((id, _, body)) if *id == call => Ok(body.iter().take(length).copied().collect()),
            _ => Err(HostError::BadArgument),
        }
    }

    fn property(&mut self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        let current = self.current;
        let world = self.record(Recorded::Property(path.iter().map(|&part| part.to_owned()).collect()));
        let name = path.join(".");
        let own = current.and_then(|id| world.streams.get(&id)).and_then(|stream| stream.properties.get(&name));
        Ok(own.or_else(|| world.settings.properties.get(&name)).cloned())
    }

    fn set_property(&mut self, path: &[&str], value: &[u8]) -> Result<(), HostError> {
        let current = self.current;
        let name = path.join(".");
        let mut world = self.record(Recorded::SetProperty(name.clone(), value.to_vec()));
        let stream = current.and_then(|id| world.streams.get_mut(&id)).ok_or(HostError::BadArgument)?;
        stream.properties.insert(name, value.to_vec());
        Ok(())
    }

    fn send_local_reply(&mut self, reply: &LocalReply) -> Result<(), HostError> {
        let current = self.current;
        let mut world = self.record(Recorded::Reply(reply.clone()));
        let stream = current.and_then(|id| world.streams.get_mut(&id)).ok_or(HostError::BadArgument)?;
        // Only the first reply counts.
        stream.reply.get_or_insert_with(|| reply.clone());
        Ok(())
    }

    fn close_connection(&mut self) -> Result<(), HostError> {
        self.record(Recorded::Close);
        Ok(())
    }

    fn resume_request(&mut self) -> Result<(), HostError> {
        let current = self.current;
        let mut world = self.record(Recorded::Resume);
        let stream = current.and_then(|id| world.streams.get_mut(&id)).ok_or(HostError::BadArgument)?;
        stream.resumed = true;
        Ok(())
    }

    fn http_call(&mut self, call: &HttpCall<'_>) -> Result<CallId, HostError> {
        if PSEUDO_HEADERS.iter().any(|name| call.headers.get(name).is_none()) {
            return Err(HostError::BadArgument);
        }
        let id = CallId::Http(self.world.borrow_mut().next_call());
        self.send(RecordedCall {
            id,
            cluster: call.cluster.to_owned(),
            headers: call.headers.clone(),
            body: call.body.to_vec(),
            timeout: call.timeout,
            grpc_method: None,
        })
    }

    fn grpc_call(&mut self, call: &GrpcCall<'_>) -> Result<CallId, HostError> {
        let id = CallId::Grpc(self.world.borrow_mut().next_call());
        self.send(RecordedCall {
            id,
            cluster: call.cluster.to_owned(),
            headers: call.metadata.clone(),
            body: call.message.to_vec(),
            timeout: call.timeout,
            grpc_method: Some(format!("{}/{}", call.service, call.method)),
        })
    }

    fn now(&mut self) -> Result<Duration, HostError> {
        Ok(self.record(Recorded::Now).clock.now())
    }

    fn random(&mut self) -> Result<u64, HostError> {
        Ok(self.record(Recorded::Random).random.draw())
    }

    fn set_tick_period(&mut self, period: Duration) -> Result<(), HostError> {
        let plugin = self.plugin;
        let mut world = self.record(Recorded::TickPeriod(period));
        let next = world.clock.now().saturating_add(period);
        if let Some(tick) = world.ticks.get_mut(plugin) {
            *tick = (!period.is_zero()).then_some((period, next));
        }
        Ok(())
    }

    fn define_metric(&mut self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        let mut world = self.world.borrow_mut();
        let position = world.metrics.iter().position(|(_, known, _)| known == name).unwrap_or_else(|| {
            world.metrics.push((kind, name.to_owned(), 0));
            world.metrics.len() - 1
        });
        u32::try_from(position).map(MetricId).map_err(|_| HostError::BadArgument)
    }

    fn increment_metric(&mut self, metric: MetricId, by: i64) -> Result<(), HostError> {
        let mut world = self.world.borrow_mut();
        match world.metrics.get_mut(metric.0 as usize) {
            Some((MetricKind::Counter, ..)) if by <= 0 => Err(HostError::BadArgument),
            Some((.., value)) => {
                *value += by;
                Ok(())
            }
            None => Err(HostError::BadArgument),
        }
    }
}
