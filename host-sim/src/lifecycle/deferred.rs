//! Applies the effects that host functions defer until their callback has returned.

use super::{connection, root, stream};
use crate::abi::StreamType;
use crate::state::connection::ClosedBy;
use crate::state::deferred::Deferred;
use crate::vm::instance::Vm;

/// Applies a deferred effect. Effects on a finished stream are dropped.
pub(super) fn apply(vm: &mut Vm, deferred: Deferred) {
    match deferred {
        Deferred::Continue(id, StreamType::Downstream | StreamType::Upstream) => connection::resume(vm, id),
        Deferred::Continue(id, stream_type) => stream::resume(vm, id, stream_type),
        Deferred::Close(id) => match vm.stream_mut(id) {
            Some(stream) => {
                if !stream.finished {
                    stream.reset();
                }
            }
            None => connection::close(vm, id, ClosedBy::Filter),
        },
        Deferred::Respond(id, response) => stream::respond(vm, id, response),
        Deferred::Delete(id) => root::delete(vm, id),
    }
}
