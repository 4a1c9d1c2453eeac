//! The table of cases in the compiled filter in the simulator.

use crate::FILTER;
use e2e::cases::SUITES;
use host_sim::{Simulator, Value};

#[test]
fn every_case_goes_where_the_table_says() {
    for suite in SUITES {
        let mut simulator = Simulator::builder(&FILTER)
            .node_metadata("NAMESPACE", suite.namespace)
            .configuration(suite.configuration)
            .start()
            .expect(suite.about);
        for case in suite.cases {
            let about = format!("{}: {}", suite.about, case.describe());
            let reason = format!(";.;reason=.={};.;", case.reason);
            let counted = |simulator: &Simulator| -> u64 {
                let of_reason = simulator.metrics().into_iter().filter(|(name, _)| name.ends_with(&reason));
                of_reason.map(|(_, metric)| if let Value::Counter(value) = metric.value { value } else { 0 }).sum()
            };
            let before = counted(&simulator);
            let mut request = simulator.request().method(case.method, "http://_/");
            request = request.authority(case.authority).path(case.path).destination_port(case.port);
            for (name, value) in case.headers {
                request = request.header(name, value);
            }
            let outcome = request.send();
            let header = |name| outcome.request_header(name);
            assert_eq!(header("x-traffic-split-cluster"), case.cluster.map(str::as_bytes), "{about}");
            assert_eq!(header("x-traffic-split-mirror"), case.mirror.map(str::as_bytes), "{about}");
            assert_eq!(header("x-traffic-split-set-cookie").is_some(), case.sets_cookie, "{about}");
            assert_eq!(outcome.route_cache_cleared, case.cluster.is_some(), "{about}");
            assert_eq!((outcome.trap, outcome.local_response), (None, None), "{about}");
            assert_eq!(counted(&simulator) - before, u64::from(case.cluster.is_some()), "{about}");
        }
    }
}
