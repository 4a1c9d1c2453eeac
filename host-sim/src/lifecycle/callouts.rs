//! Responses to HTTP and gRPC callouts.

use super::runtime::Runtime;
use crate::abi::{Status, encode_size};
use crate::http::headers::Headers;
use crate::http::message::Response;
use crate::state::callback::Trap;
use crate::state::context::{Context, Root};
use crate::vm::callbacks::SelectCallback;

impl Runtime {
    /// Responds to an HTTP callout. Returns `false` for an unknown token.
    pub(crate) fn respond_to_http_call(&mut self, token: u32, response: Response) -> bool {
        let (headers, body, trailers) = (response.headers.len(), response.body.len(), response.trailers.len());
        self.end_http_call(token, Some(response), None, [headers, body, trailers])
    }

    /// Resets an HTTP callout. Returns `false` for an unknown token.
    pub(crate) fn reset_http_call(&mut self, token: u32) -> bool {
        self.end_http_call(token, None, Some((Status::BrokenConnection as u32, "reset".to_owned())), [0; 3])
    }

    /// Passes initial metadata of a gRPC stream to the filter. Returns `false` for an unknown token.
    pub(crate) fn grpc_initial_metadata(&mut self, token: u32, metadata: Headers) -> bool {
        let count = encode_size(metadata.len());
        let receive = |root: &mut Root| root.grpc_initial_metadata = Some(metadata);
        self.grpc_event(token, receive, |callbacks| callbacks.grpc_receive_initial_metadata, count)
    }

    /// Passes a message to the filter, which ends a gRPC call. Returns `false` for an unknown token.
    pub(crate) fn grpc_message(&mut self, token: u32, message: Vec<u8>) -> bool {
        let size = encode_size(message.len());
        let is_call = self.roots().any(|root| root.grpc_calls.get(&token).is_some_and(|call| !call.is_stream));
        let receive = |root: &mut Root| root.grpc_message = Some(message);
        let found = self.grpc_event(token, receive, |callbacks| callbacks.grpc_receive, size);
        if is_call {
            self.forget_grpc_call(token);
        }
        found
    }

    /// Passes trailing metadata of a gRPC stream to the filter. Returns `false` for an unknown token.
    pub(crate) fn grpc_trailing_metadata(&mut self, token: u32, metadata: Headers) -> bool {
        let count = encode_size(metadata.len());
        let receive = |root: &mut Root| root.grpc_trailing_metadata = Some(metadata);
        self.grpc_event(token, receive, |callbacks| callbacks.grpc_receive_trailing_metadata, count)
    }

    /// Closes a gRPC call or stream. Returns `false` for an unknown token.
    pub(crate) fn grpc_close(&mut self, token: u32, status: u32, message: &str) -> bool {
        let receive = |root: &mut Root| root.status = (status, message.to_owned());
        let found = self.grpc_event(token, receive, |callbacks| callbacks.grpc_close, status);
        self.forget_grpc_call(token);
        found
    }

    /// Calls `on_http_call_response` in the root context of a callout.
    fn end_http_call(
        &mut self,
        token: u32,
        response: Option<Response>,
        status: Option<(u32, String)>,
        sizes: [usize; 3],
    ) -> bool {
        let Some((index, id)) = self.find_root(|root| root.http_calls.contains_key(&token)) else { return false };
        let vm = &mut self.workers[index].vm;
        if let Some(root) = vm.root_mut(id) {
            root.http_calls.remove(&token);
            root.http_response = response;
            // Without a status of its own, the callout leaves that of the last one.
            if let Some(status) = status {
                root.status = status;
            }
        }
        let [headers, body, trailers] = sizes.map(encode_size);
        let params = (id, token, headers, body, trailers);
        vm.call(
            id,
            |callbacks| callbacks.http_call_response,
            params,
            |vm, _| {
                if let Some(root) = vm.root_mut(id) {
                    root.http_response = None;
                    root.status.1.clear();
                }
            },
        );
        self.finish_event();
        true
    }

    /// Calls a gRPC callback in the root context of a callout. What `receive` sets is available during the callback.
    fn grpc_event(
        &mut self,
        token: u32,
        receive: impl FnOnce(&mut Root),
        callback: SelectCallback<(u32, u32, u32), ()>,
        argument: u32,
    ) -> bool {
        let Some((index, id)) = self.find_root(|root| root.grpc_calls.contains_key(&token)) else { return false };
        let vm = &mut self.workers[index].vm;
        if let Some(root) = vm.root_mut(id) {
            receive(root);
        }
        vm.call(id, callback, (id, token, argument), |vm, _: Result<_, Trap>| {
            if let Some(root) = vm.root_mut(id) {
                (root.grpc_initial_metadata, root.grpc_message, root.grpc_trailing_metadata) = (None, None, None);
                root.status.1.clear();
            }
        });
        self.finish_event();
        true
    }

    fn forget_grpc_call(&mut self, token: u32) {
        for worker in &mut self.workers {
            for root in worker.vm.state_mut().contexts.values_mut().filter_map(Context::as_root_mut) {
                root.grpc_calls.remove(&token);
            }
        }
    }

    /// Returns the worker and the id of the first root context that satisfies a condition.
    fn find_root(&self, condition: impl Fn(&Root) -> bool) -> Option<(usize, u32)> {
        self.workers.iter().enumerate().find_map(|(index, worker)| {
            let mut contexts = worker.vm.state().contexts.iter();
            let (id, _) = contexts.find(|(_, context)| context.as_root().is_some_and(&condition))?;
            Some((index, *id))
        })
    }
}
