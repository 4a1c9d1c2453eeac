//! The cost of the simulator with the filter: `cargo bench -p e2e --features simulator`.

use e2e::guide::Guide;
use host_sim::{Module, Simulator};

const CONFIGURATION: &str = r#"{"trafficSplits": [{
    "apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
    "metadata": {"name": "http-split", "namespace": "httpbin"},
    "spec": {"service": "httpbin", "backends": [
        {"service": "httpbin-v1", "weight": 50}, {"service": "httpbin-v2", "weight": 50}]}}]}"#;

fn wasm() -> Vec<u8> {
    std::fs::read(Guide::built().expect("what ./build.sh build leaves").wasm).expect("the filter")
}

fn start(module: &Module) -> Simulator {
    Simulator::builder(module).configuration(CONFIGURATION).start().expect("a start")
}

#[divan::bench]
fn loading_and_configuring_the_filter(bencher: divan::Bencher) {
    let wasm = wasm();
    bencher.bench_local(|| start(&Module::from_bytes(&wasm).expect("a module")));
}

#[divan::bench]
fn configuring_the_filter(bencher: divan::Bencher) {
    let module = Module::from_bytes(wasm()).expect("a module");
    bencher.bench_local(|| start(&module));
}

#[divan::bench(args = ["http://httpbin.httpbin:14001/json", "http://other.httpbin:14001/json"], sample_count = 10)]
fn a_hundred_thousand_requests(bencher: divan::Bencher, url: &str) {
    let module = Module::from_bytes(wasm()).expect("a module");
    bencher.bench_local(|| {
        let mut simulator = start(&module);
        for _ in 0..100_000 {
            divan::black_box(simulator.request().get(url).send());
        }
    });
}

fn main() {
    divan::main();
}
