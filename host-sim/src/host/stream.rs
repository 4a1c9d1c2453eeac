//! Letting streams go on, closing them, and the route.

use super::{Answer, Guest};
use crate::abi::{Status, StreamType};
use crate::state::After;

/// The stream goes on once the callback is over. What the filter has of the request is out of its hands at once,
/// whichever direction goes on.
pub(super) fn proxy_continue_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    go_on(guest, StreamType::from_abi(stream).ok_or(Status::BadArgument)?)
}

/// ABI 0.1.0's.
pub(super) fn proxy_continue_request(guest: &mut Guest<'_>) -> Answer {
    go_on(guest, StreamType::Request)
}

/// ABI 0.1.0's.
pub(super) fn proxy_continue_response(guest: &mut Guest<'_>) -> Answer {
    go_on(guest, StreamType::Response)
}

fn go_on(guest: &mut Guest<'_>, direction: StreamType) -> Answer {
    match direction {
        StreamType::Request | StreamType::Response => {
            let state = guest.state_mut();
            let id = state.context();
            if let Some(stream) = state.stream_mut() {
                stream.request.gone = true;
                state.after.push_back(After::Continue(id, direction));
            }
            Ok(())
        }
        StreamType::Downstream => {
            let state = guest.state_mut();
            if state.connection().is_some() {
                state.after.push_back(After::Continue(state.context(), direction));
            }
            Ok(())
        }
        StreamType::Upstream => Err(Status::Unimplemented.into()),
    }
}

/// The stream is reset, or the connection closed, once the callback is over: it is the client's whichever of its two
/// directions is named.
pub(super) fn proxy_close_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    let direction = StreamType::from_abi(stream).ok_or(Status::BadArgument)?;
    let state = guest.state_mut();
    let is_its = match direction {
        StreamType::Request | StreamType::Response => state.stream().is_some(),
        StreamType::Downstream | StreamType::Upstream => state.connection().is_some(),
    };
    if is_its {
        state.after.push_back(After::Close(state.context()));
    }
    Ok(())
}

/// ABI 0.1.0's; later modules call the foreign function of that name.
pub(super) fn proxy_clear_route_cache(guest: &mut Guest<'_>) -> Answer {
    if let Some(stream) = guest.state_mut().stream_mut() {
        stream.route_cache_cleared = true;
    }
    Ok(())
}
