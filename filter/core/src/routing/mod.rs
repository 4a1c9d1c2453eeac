//! Decides where a request goes: to the root or to a backend.
//!
//! [`rules`] runs these steps for each request:
//!
//! 1. [`roots`]: the root Service of the request's host ([`authority`]), and [`port`]: the root's port.
//! 2. [`matching`]: the first split of that root whose matches accept the request.
//! 3. [`selection`]: the backend, by override, then stickiness ([`rendezvous`]), then random weight.
//! 4. [`mirroring`]: whether a copy goes to the split's mirror.
//!
//! [`decision`] is the result, and [`trace`] records the steps for `explain`. [`sharing`] builds the rules from a
//! configuration.

pub(crate) mod authority;
pub(crate) mod backend;
pub(crate) mod cookie;
pub(crate) mod counter;
pub(crate) mod decision;
pub(crate) mod header_cache;
pub(crate) mod matching;
pub(crate) mod mirroring;
pub(crate) mod port;
pub(crate) mod random;
pub mod rendezvous;
pub(crate) mod request;
pub(crate) mod roots;
pub(crate) mod rules;
pub(crate) mod selection;
pub(crate) mod sharing;
pub(crate) mod split;
pub(crate) mod trace;
pub(crate) mod warnings;
