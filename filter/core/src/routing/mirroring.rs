//! Mirroring: whether a copy of a request goes to the split's mirror.

use crate::configuration::annotations::HUNDRED_PERCENT;
use crate::configuration::weight::Weight;
use crate::routing::backend::Backend;
use crate::routing::header_cache::HeaderCache;
use crate::routing::random::{RandomSource, scale};
use crate::routing::request::Request;
use crate::routing::selection::Candidates;

/// Maximum length of a body that is copied, in bytes: the default of Envoy's `per_connection_buffer_limit_bytes`.
const MAX_BODY_BYTES: u64 = 1 << 20;

/// Returns the mirror of a split and the percentage of requests that it receives; `None` if the split has no mirror or
/// the mirror does not serve the request's port.
pub(crate) fn mirror<'s>(candidates: Candidates<'s>) -> Option<(&'s Backend, Weight)> {
    let mirror = candidates.split.mirror.as_ref()?;
    Some((candidates.by_name(mirror.backend.as_bytes())?, mirror.percent))
}

/// Returns the mirror if this request is copied to it. A mirror receives no copy of a request that it serves itself.
pub(crate) fn mirror_of_request<'s>(
    candidates: Candidates<'s>,
    selected: &Backend,
    headers: &mut HeaderCache<'_, impl Request>,
    random: &mut impl RandomSource,
) -> Option<&'s Backend> {
    let (mirror, percent) = mirror(candidates)?;
    let is_copied = !std::ptr::eq(mirror, selected)
        && scale(random.number(), u128::from(HUNDRED_PERCENT)) < u128::from(percent.billionths())
        && can_be_copied(headers);
    is_copied.then_some(mirror)
}

/// Returns whether the request can be copied without the risk that a slow mirror delays the request. Envoy forwards a
/// body only as fast as the slower of both upstreams reads the body, unless the body fits into Envoy's buffers. gRPC
/// messages without a length are assumed to fit.
fn can_be_copied(headers: &mut HeaderCache<'_, impl Request>) -> bool {
    if !headers.request().has_body() {
        return true;
    }
    match headers.get("content-length").map(|text| std::str::from_utf8(text).ok().and_then(|it| it.parse().ok())) {
        Some(length) => length.is_some_and(|length: u64| length <= MAX_BODY_BYTES),
        None => headers.get("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc")),
    }
}
