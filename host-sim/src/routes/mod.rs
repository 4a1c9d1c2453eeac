//! Envoy's route table: which cluster a request goes to, and what the route does to headers.
//!
//! No VM is involved. The rules are those of Envoy's `RouteMatcher`, `RouteEntryImplBase`, `HeaderParser` and router
//! filter. `safe_regex`, redirects, rewrites, retries, and header operations of virtual hosts or single weighted
//! clusters are not supported.

mod clusters;
pub(crate) mod header_match;
pub(crate) mod header_operations;
pub(crate) mod mirror;
mod request_headers;
pub(crate) mod route;
pub(crate) mod selected_route;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod virtual_host;
