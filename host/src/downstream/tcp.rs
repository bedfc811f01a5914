//! TEMP
use crate::downstream::Accepted;
use crate::filter_chain::FilterChain;
use crate::upstream::ClusterSet;
use crate::worker::Worker;
use compiler::snapshot::{Direction, TcpProxy};
use std::rc::Rc;
use std::sync::Arc;
pub(crate) struct TcpManager;
impl TcpManager {
    pub(crate) fn new(_: Arc<TcpProxy>, _: Direction, _: Rc<FilterChain>, _: Rc<ClusterSet>) -> Self {
        Self
    }
}
pub(crate) async fn serve(_: Rc<Worker>, _: Rc<TcpManager>, _: Accepted) {}
