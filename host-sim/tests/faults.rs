//! Injected faults: which calls fail, in which VMs.

use host_sim::{Error, Module, Simulator};

/// Returns a guest that logs the letter `f` in each callback whose call of `proxy_define_metric` or `random_get` fails. It
/// refuses a configuration if `proxy_define_metric` fails.
fn guest() -> Module {
    let text = r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "f")
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_abi_version_0_2_1"))
        (func $report (param $status i32)
            (if (local.get $status) (then (drop (call $log (i32.const 2) (i32.const 0) (i32.const 1))))))
        (func $metric (result i32) (call $define (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1024)))
        (func (export "_initialize") (call $report (call $random (i32.const 2048) (i32.const 8))))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.eqz (call $metric)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $report (call $metric)) (call $report (call $metric)) (i32.const 0)))"#;
    Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module")
}

fn start() -> Simulator {
    Simulator::builder(&guest()).start().expect("a start")
}

/// Sends a request. Returns the number of its calls that failed.
fn failed_calls(simulator: &mut Simulator) -> usize {
    simulator.request().send().logs.len()
}

#[test]
fn a_fault_happens_as_often_as_injected_and_is_counted() {
    let mut simulator = start();
    simulator.inject_fault("proxy_define_metric", 10, Some(3));
    assert_eq!([2, 1, 0], [(); 3].map(|()| failed_calls(&mut simulator)));
    assert_eq!(simulator.injected_faults(), 3);
    simulator.inject_fault("proxy_define_metric", 2, None);
    assert_eq!([2, 2], [(); 2].map(|()| failed_calls(&mut simulator)));
    simulator.clear_faults();
    assert_eq!(failed_calls(&mut simulator), 0);
    assert_eq!(simulator.injected_faults(), 7);
}

#[test]
fn calls_before_a_later_fault_run() {
    let mut simulator = start();
    simulator.inject_fault_after(3, "proxy_define_metric", 10, Some(1));
    assert_eq!([0, 1, 0], [(); 3].map(|()| failed_calls(&mut simulator)));
    assert_eq!(simulator.metric("f").map(|metric| metric.definitions), Some(1 + 5), "the failed call defined nothing");
}

#[test]
fn status_0_succeeds_without_an_effect() {
    let mut simulator = start();
    let before = simulator.metric("f").map(|metric| metric.definitions);
    simulator.inject_fault("proxy_define_metric", 0, None);
    assert_eq!(failed_calls(&mut simulator), 0);
    assert_eq!(simulator.metric("f").map(|metric| metric.definitions), before);
    assert_eq!(simulator.injected_faults(), 2);
}

#[test]
fn an_injected_fault_does_not_reach_vms_that_start_later() {
    let mut simulator = start();
    simulator.inject_fault("proxy_define_metric", 10, None);
    // The VM that validates accepts the configuration; the worker's VM refuses it.
    assert!(matches!(simulator.reconfigure(""), Err(Error::Refused { .. })));
    simulator.reload().expect("new VMs without faults");
    assert_eq!(failed_calls(&mut simulator), 0);
}

#[test]
fn a_fault_of_the_builder_reaches_every_vm_from_its_start() {
    let started = Simulator::builder(&guest()).fault("proxy_define_metric", 10, Some(1)).start();
    assert!(matches!(started, Err(Error::Refused { .. })), "the VM that validates");

    let mut simulator = Simulator::builder(&guest()).fault("random_get", 76, None).start().expect("a start");
    // The logs of the VM that validated are forgotten.
    assert_eq!((simulator.logs().len(), simulator.injected_faults()), (1, 2));
    simulator.reload().expect("new VMs");
    assert_eq!((simulator.logs().len(), simulator.injected_faults()), (2, 3));
    simulator.clear_faults();
    simulator.reload().expect("new VMs");
    assert_eq!((simulator.logs().len(), simulator.injected_faults()), (2, 3));
}

#[test]
#[should_panic(expected = "unknown host function \"proxy_define_metrik\"")]
fn a_fault_for_an_unknown_host_function_panics() {
    start().inject_fault("proxy_define_metrik", 10, None);
}

#[test]
#[should_panic(expected = "the host function \"proc_exit\" returns nothing")]
fn a_fault_for_a_host_function_without_a_result_panics() {
    start().inject_fault("proc_exit", 1, None);
}
