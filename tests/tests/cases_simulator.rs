//! The table of cases, in the compiled filter in the simulator.

use host_sim::{Module, Simulator};
use journeys::cases::SUITES;
use journeys::guide::Guide;

#[test]
fn every_case_goes_where_the_table_says() {
    let module = Module::from_file(Guide::built().expect("what ./build.sh build leaves").wasm).expect("a module");
    for suite in SUITES {
        let mut simulator = Simulator::builder(&module)
            .node_metadata("NAMESPACE", suite.namespace)
            .configuration(suite.configuration)
            .start()
            .expect(suite.about);
        for case in suite.cases {
            let request = simulator.request().get("http://_/json").authority(case.authority);
            let outcome = request.destination_port(case.port).send();
            let about = format!("{}: {} on {}", suite.about, case.authority.escape_ascii(), case.port);
            let cluster = outcome.request_header("x-traffic-split-cluster");
            assert_eq!(cluster, case.cluster.map(str::as_bytes), "{about}");
            assert_eq!(outcome.route_cache_cleared, case.cluster.is_some(), "{about}");
            assert_eq!((outcome.trap, outcome.local_response), (None, None), "{about}");
        }
    }
}
