//! Exported functions that the host calls, and their traps.

use wasmi::TypedFunc;

/// A callback: its name, and the exported function if there is one.
#[derive(Debug)]
pub(crate) struct Callback<Params, Results> {
    pub name: &'static str,
    pub function: Option<TypedFunc<Params, Results>>,
}

/// A trap: the callback in which it happened, and the reason.
#[derive(Clone, Debug)]
pub(crate) struct Trap {
    pub callback: &'static str,
    pub why: String,
}

// === impl Callback ===

impl<Params, Results> Copy for Callback<Params, Results> {}
impl<Params, Results> Clone for Callback<Params, Results> {
    fn clone(&self) -> Self {
        *self
    }
}
