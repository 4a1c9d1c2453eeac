//! Continuing and closing streams and connections, and the route cache.

use super::guest::{Answer, Guest};
use crate::abi::{Status, StreamType};
use crate::state::deferred::Deferred;

/// Continues a stream or connection after the callback. As in Envoy, the request's maps become inaccessible at once, even
/// if the response continues.
pub(super) fn proxy_continue_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    continue_stream(guest, StreamType::from_abi(stream).ok_or(Status::BadArgument)?)
}

/// Continues the request (ABI 0.1.0).
pub(super) fn proxy_continue_request(guest: &mut Guest<'_>) -> Answer {
    continue_stream(guest, StreamType::Request)
}

/// Continues the response (ABI 0.1.0).
pub(super) fn proxy_continue_response(guest: &mut Guest<'_>) -> Answer {
    continue_stream(guest, StreamType::Response)
}

fn continue_stream(guest: &mut Guest<'_>, stream_type: StreamType) -> Answer {
    match stream_type {
        StreamType::Request | StreamType::Response => {
            let state = guest.state_mut();
            let id = state.context_id();
            if let Some(stream) = state.stream_mut() {
                stream.request.continued = true;
                state.deferred.push_back(Deferred::Continue(id, stream_type));
            }
            Ok(())
        }
        StreamType::Downstream => {
            let state = guest.state_mut();
            if state.connection().is_some() {
                state.deferred.push_back(Deferred::Continue(state.context_id(), stream_type));
            }
            Ok(())
        }
        StreamType::Upstream => Err(Status::Unimplemented.into()),
    }
}

/// Resets a stream or closes a connection after the callback. The direction in the argument makes no difference.
pub(super) fn proxy_close_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    let stream_type = StreamType::from_abi(stream).ok_or(Status::BadArgument)?;
    let state = guest.state_mut();
    let exists = match stream_type {
        StreamType::Request | StreamType::Response => state.stream().is_some(),
        StreamType::Downstream | StreamType::Upstream => state.connection().is_some(),
    };
    if exists {
        state.deferred.push_back(Deferred::Close(state.context_id()));
    }
    Ok(())
}

/// Clears the route cache (ABI 0.1.0). Later modules call the foreign function `clear_route_cache`.
pub(super) fn proxy_clear_route_cache(guest: &mut Guest<'_>) -> Answer {
    if let Some(stream) = guest.state_mut().stream_mut() {
        stream.route_cache_cleared = true;
    }
    Ok(())
}
