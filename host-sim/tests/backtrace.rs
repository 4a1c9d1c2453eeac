//! The log message of a trap, with a backtrace. The end-to-end tests compare it with Envoy's.

use host_sim::{Error, Log, LogLevel, Module, Simulator};

/// Returns a guest with these functions, whose `$on_request_headers` calls `$go`.
fn guest(functions: &str) -> Module {
    let text = format!(
        r#"(module
            (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) ":path")
            (func (export "proxy_abi_version_0_2_1"))
            (func $malloc (export "malloc") (param i32) (result i32) (call $allocate) (i32.const 1024))
            (func $allocate)
            (func $on_request_headers (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (call $go) (i32.const 0))
            {functions})"#
    );
    Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module")
}

/// Returns the log message of a request that traps.
fn failure(module: &Module) -> String {
    let mut simulator = Simulator::builder(module).start().expect("a start");
    let logs = simulator.request().send().logs;
    let [Log { level: LogLevel::Error, context: 2, message, .. }] = &logs[..] else { panic!("{logs:?}") };
    assert_eq!(simulator.logs(), logs);
    message.clone()
}

/// Returns the function names of a backtrace, innermost first.
fn names(failure: &str) -> Vec<&str> {
    failure.lines().filter_map(|line| line.split_once(" - ")).map(|(_, name)| name).collect()
}

#[test]
fn a_trap_is_logged_with_its_active_functions() {
    let failure = failure(&guest("(func $go (call $ends) (call $traps)) (func $ends) (func $traps unreachable)"));
    let (message, backtrace) = failure.split_once('\n').expect("lines");
    assert_eq!(message, "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable");
    assert!(backtrace.starts_with("Proxy-Wasm plugin in-VM backtrace:\n  0:  0x"), "{backtrace}");
    assert_eq!(names(backtrace), ["traps", "go", "on_request_headers"]);
}

#[test]
fn a_trap_during_configuration_has_a_backtrace() {
    let module = guest(
        r#"(func $go)
        (func $on_configure (export "proxy_on_configure") (param i32 i32) (result i32) (call $check) (i32.const 1))
        (func $check unreachable)"#,
    );
    let Err(error @ Error::Trapped { callback: "proxy_on_configure", .. }) = Simulator::builder(&module).start() else {
        panic!("the configuration did not trap")
    };
    let text = error.to_string();
    assert!(
        text.starts_with("the module trapped in proxy_on_configure: Uncaught RuntimeError: unreachable\n"),
        "{text}"
    );
    assert_eq!(names(&text), ["check", "on_configure"]);
}

#[test]
fn indirect_calls_are_in_the_backtrace_and_tail_callers_are_not() {
    let failure = failure(&guest(
        r#"(table funcref (elem $one $two))
        (func $go (call_indirect (i32.const 0)))
        (func $one (return_call_indirect (i32.const 1)))
        (func $two (return_call $three))
        (func $three (call $four))
        (func $four (call_indirect (i32.const 7)))"#,
    ));
    assert_eq!(names(&failure), ["four", "three", "go", "on_request_headers"]);
    assert!(failure.contains("table index is out of bounds"), "{failure}");
}

#[test]
fn a_stack_overflow_shows_the_innermost_functions() {
    let failure = failure(&guest("(func $go (call $on)) (func $on (call $go))"));
    assert!(failure.contains("failed: Uncaught RangeError: Maximum call stack size exceeded\n"), "{failure}");
    let names = names(&failure);
    assert_eq!(names.len(), 20);
    assert!(names.chunks(2).all(|pair| pair == &names[..2]) && names[0] != names[1], "{names:?}");
}

#[test]
fn earlier_calls_of_the_allocator_are_not_in_the_backtrace() {
    let failure = failure(&guest(
        r#"(func $go (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 68))) (call $last))
        (func $last (if (i32.eq (i32.load (i32.const 64)) (i32.const 1024)) (then unreachable)))"#,
    ));
    assert_eq!(names(&failure), ["last", "go", "on_request_headers"]);
}

#[test]
fn unnamed_functions_have_an_index_and_stripped_modules_no_backtrace() {
    let some = failure(&guest("(func $go (call 6)) (func unreachable)"));
    assert_eq!(names(&some), ["unknown(function index:6)", "go", "on_request_headers"]);

    let text = r#"(module (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;
    let none = Module::from_bytes(wat::parse_str(text).expect("text")).expect("a module");
    assert_eq!(failure(&none), "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable");
}

#[test]
fn the_instrumentation_is_invisible() {
    let module = guest("(func $go)");
    assert_eq!(module.exports(), ["malloc", "memory", "proxy_abi_version_0_2_1", "proxy_on_request_headers"]);
    assert_eq!(module.imports(), ["env.proxy_get_header_map_value"]);
    let simulator = Simulator::builder(&module).memory_limit(1 << 16).start().expect("one page is within the limit");
    assert_eq!(simulator.memory_size(), 1 << 16);
}

#[test]
fn a_module_with_sections_out_of_order_is_rejected() {
    let whole = wat::parse_str(
        r#"(module (memory 1) (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#,
    );
    let whole = whole.expect("text");
    let (header, sections) = whole.split_at(8);
    // Each section is shorter than 128 bytes.
    let mut rest = sections;
    let sections: Vec<_> = std::iter::from_fn(|| {
        let (section, next) = rest.split_at_checked(2 + usize::from(*rest.get(1)?))?;
        rest = next;
        Some(section)
    })
    .collect();
    let load = |sections: Vec<&[u8]>| Module::from_bytes([header, &sections.concat()].concat());
    assert!(load(sections.clone()).is_ok());
    for place in 0..sections.len() {
        let mut twice = sections.clone();
        twice.insert(place, sections[place]);
        load(twice).expect_err("a duplicated section");
        let mut turned = sections.clone();
        turned.rotate_left(place);
        assert_eq!(load(turned).is_ok(), place == 0, "rotated by {place}");
    }
    // Unsupported sections: a tag section, and an undefined section.
    for unknown in [[13, 3, 1, 0, 0], [99, 3, 1, 0, 0]] {
        load([&sections[..], &[&unknown[..]]].concat()).expect_err("an unknown section");
    }
}

#[test]
fn a_truncated_module_is_rejected() {
    let whole = wat::parse_str(
        r#"(module (memory 1) (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#,
    );
    let whole = whole.expect("text");
    assert!(Module::from_bytes(&whole).is_ok());
    for end in 0..whole.len() {
        Module::from_bytes(&whole[..end]).expect_err("only a part of a module");
    }
}

#[test]
fn a_name_that_demangles_to_a_huge_text_is_not_demangled() {
    // B<A, A>, then repeatedly C<previous, previous>.
    let mut name = "_Z1f1A1BIS_S_E".to_owned();
    for last in (1..).step_by(2).take(40) {
        let digits: String =
            [last / 36, last % 36].into_iter().filter_map(|digit| char::from_digit(digit, 36)).collect();
        let last = digits.trim_start_matches('0').to_uppercase();
        name += &format!("1CIS{last}_S{last}_E");
    }
    let failure = failure(&guest(&format!("(func $go (call ${name})) (func ${name} unreachable)")));
    assert_eq!(names(&failure), [&name, "go", "on_request_headers"]);
}
