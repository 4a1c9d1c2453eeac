//! The module loader of host-sim.

use host_sim::{Error, Inspection, Module, Simulator};

/// Limits of a run, so that each input takes milliseconds.
const FUEL: u64 = 1_000_000;
const MEMORY: usize = 32 << 20;
const LOG: usize = 64 << 10;

/// Loads a module, inspects it and sends it a request. The inspection must say whether the module starts.
pub fn module(data: &[u8]) {
    let module = Module::from_bytes(data);
    if let Err(Error::Invalid(why)) = &module {
        assert!(!why.starts_with("cannot instrument calls"), "a valid module is refused: {why}");
    }
    let inspection = Inspection::of_bytes(data);
    let Ok(module) = module else {
        assert!(inspection.is_err() || inspection.is_ok_and(|inspection| !inspection.refused_here.is_empty()));
        return;
    };
    let inspection = inspection.expect("a module that is loaded can be inspected");
    assert!(inspection.abi.is_some(), "{module:?}");
    let is_internal = |name: &String| name.starts_with("host-sim:");
    assert!(!module.exports().iter().any(is_internal), "{module:?}");
    let builder = Simulator::builder(&module).fuel(FUEL).memory_limit(MEMORY).log_limit(LOG).host_limit(MEMORY);
    match builder.start() {
        Ok(mut simulator) => {
            assert_eq!(inspection.refused_here, [""; 0], "a module that starts is refused by its inspection");
            drop(simulator.request().get("http://web/").send());
        }
        Err(Error::UnknownImports { .. }) => {
            assert!(!inspection.refused_here.is_empty(), "unknown imports are no reason")
        }
        Err(_) => {}
    }
}
