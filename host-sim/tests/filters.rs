//! The behavior of the filters in `guests/filters` that the examples do not show.

use host_sim::{Response, Simulator, Value};
use std::time::Duration;

#[path = "../examples/filters/mod.rs"]
mod filters;

fn start(filter: &str) -> Simulator {
    Simulator::builder(&filters::filter(filter)).start().expect("a start")
}

mod headers {
    use super::*;

    #[test]
    fn header_values_may_be_invalid_utf_8() {
        let outcome = start("headers").request().path(b"/\xff").header("x-any", b"\xfe").send();
        assert_eq!(outcome.trap, None);
        assert_eq!(outcome.request_header("x-any"), Some(&b"\xfe"[..]));
        assert!(outcome.logs.iter().any(|log| log.message == "request x-any: \u{fffd}"));
    }

    #[test]
    fn only_the_value_yes_selects_the_canary() {
        let mut sim = start("headers");
        for (value, cluster) in [("yes", Some(&b"canary"[..])), ("no", None), ("", None), ("yes, no", None)] {
            let outcome = sim.request().header("x-tester", value).header("x-cluster", "mine").send();
            assert_eq!(outcome.request_header("x-cluster"), cluster, "{value}");
        }
    }

    #[test]
    fn only_the_exact_path_ping_gets_a_local_response() {
        let mut sim = start("headers");
        for (path, answered) in [("/ping", true), ("/ping/", false), ("/ping?", false), ("/", false)] {
            assert_eq!(sim.request().path(path).send().local_response.is_some(), answered, "{path}");
        }
    }
}

mod body {
    use super::*;

    fn masked(body: &[u8]) -> Vec<u8> {
        start("body").request().response(Response::status_only(200).body(body)).send().response.body
    }

    #[test]
    fn runs_of_13_to_19_digits_are_masked() {
        for (length, is_card) in [(12, false), (13, true), (19, true), (20, false)] {
            let digits = "4".repeat(length);
            let expected = if is_card { "a[card]b" } else { &format!("a{digits}b") };
            assert_eq!(masked(format!("a{digits}b").as_bytes()), expected.as_bytes(), "{length} digits");
        }
    }

    #[test]
    fn other_bytes_are_not_changed() {
        assert_eq!(masked(b"\xff\x004111111111111111 4111111111111111\xfe"), b"\xff\x00[card] [card]\xfe");
    }

    #[test]
    fn a_response_without_a_body_keeps_content_length() {
        let outcome = start("body").request().response(Response::status_only(304).header("content-length", "7")).send();
        assert_eq!(outcome.response_header("content-length"), Some(&b"7"[..]));
    }

    #[test]
    fn request_bodies_are_not_changed() {
        let outcome = start("body").request().post("http://shop/").body("4111111111111111").send();
        assert_eq!(outcome.request_body, b"4111111111111111");
    }
}

mod configuration {
    use super::*;
    use host_sim::Error;

    #[test]
    fn an_empty_configuration_adds_no_headers() {
        let outcome = start("configuration").request().send();
        assert_eq!(outcome.response.headers.len(), 1);
    }

    #[test]
    fn every_problem_is_logged() {
        let refused = Simulator::builder(&filters::filter("configuration")).configuration("a\nb: c\n: d").start();
        let Err(Error::Refused { logs, .. }) = refused else { panic!("the configuration was accepted") };
        let messages: Vec<_> = logs.iter().map(|log| &log.message[..]).collect();
        assert_eq!(messages, ["line 1: expected `name: value`: a", "line 3: expected `name: value`: : d"]);
    }

    #[test]
    fn a_configuration_of_invalid_utf_8_is_refused() {
        let refused = Simulator::builder(&filters::filter("configuration")).configuration(b"a: \xff").start();
        assert!(matches!(refused, Err(Error::Refused { .. })));
    }
}

mod http_auth {
    use super::*;

    #[test]
    fn a_request_without_a_token_makes_no_callout() {
        let mut sim = start("http_auth");
        assert_eq!(sim.request().send().status(), Some(401));
        assert_eq!(sim.request().header("authorization", b"\xff").send().status(), Some(401));
        assert!(sim.http_calls().is_empty());
    }

    #[test]
    fn unexpected_statuses_refuse_the_request() {
        let mut sim = start("http_auth");
        for (answer, status) in [(401, 401), (403, 403), (500, 503), (204, 503), (302, 503)] {
            let id = sim.request().header("authorization", "alice").open();
            let call = sim.http_calls().pop().expect("a callout");
            sim.respond_to_http_call(call.token, Response::status_only(answer));
            assert_eq!(sim.stream(id).finish().status(), Some(status), "{answer}");
        }
    }

    #[test]
    fn responses_go_to_the_right_requests() {
        let mut sim = start("http_auth");
        let ids = ["alice", "mallory"].map(|user| sim.request().header("authorization", user).open());
        let calls = sim.http_calls();
        sim.respond_to_http_call(calls[1].token, Response::status_only(403));
        sim.respond_to_http_call(calls[0].token, Response::status_only(200));
        let statuses = ids.map(|id| sim.stream(id).respond(Response::status_only(200)).finish().status());
        assert_eq!(statuses, [Some(200), Some(403)]);
    }

    #[test]
    fn a_response_after_a_client_reset_is_ignored() {
        let mut sim = start("http_auth");
        let id = sim.request().header("authorization", "alice").open();
        let call = sim.http_calls().pop().expect("a callout");
        assert!(sim.stream(id).finish().paused);
        sim.respond_to_http_call(call.token, Response::status_only(200));
        assert!(!sim.has_failed());
    }
}

mod grpc_auth {
    use super::*;

    #[test]
    fn unexpected_grpc_statuses_refuse_the_request() {
        let mut sim = start("grpc_auth");
        for (answer, status) in [(16, 401), (7, 403), (14, 503), (2, 503)] {
            let id = sim.request().open();
            let call = sim.grpc_calls().pop().expect("a call");
            sim.grpc_close(call.token, answer, "");
            assert_eq!(sim.stream(id).finish().status(), Some(status), "{answer}");
        }
    }

    #[test]
    fn a_long_path_is_encoded_completely() {
        let mut sim = start("grpc_auth");
        sim.request().path("/".repeat(300)).open();
        let call = sim.grpc_calls().pop().expect("a call");
        // The varint of 300.
        assert_eq!(call.messages[0], [&b"\x0a\xac\x02"[..], "/".repeat(300).as_bytes()].concat());
    }

    #[test]
    fn an_unknown_cluster_refuses_the_request() {
        let mut sim = Simulator::builder(&filters::filter("grpc_auth")).clusters(&[]).start().expect("a start");
        assert_eq!(sim.request().send().status(), Some(503));
    }
}

mod blocklist {
    use super::*;

    fn listing(users: &str) -> Simulator {
        let mut sim = start("blocklist");
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.respond_to_http_call(call.token, Response::status_only(200).body(users));
        sim
    }

    #[test]
    fn only_whole_lines_name_users() {
        let mut sim = listing("mallory\ntrudy\n");
        for (user, status) in [("mallory", 403), ("trudy", 403), ("mall", 200), ("mallory\n", 200), ("", 200)] {
            assert_eq!(sim.request().header("x-user", user).send().status(), Some(status), "{user}");
        }
        assert_eq!(sim.request().send().status(), Some(200));
    }

    #[test]
    fn an_empty_list_blocks_no_users() {
        let mut sim = listing("");
        assert_eq!(sim.request().header("x-user", "").send().status(), Some(200));
        assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(200));
    }

    #[test]
    fn a_failed_callout_keeps_the_list() {
        let mut sim = listing("mallory");
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.respond_to_http_call(call.token, Response::status_only(500).body("trudy"));
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.reset_http_call(call.token);
        assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(403));
        assert_eq!(sim.request().header("x-user", "trudy").send().status(), Some(200));
    }

    #[test]
    fn workers_share_the_counter() {
        let mut sim = Simulator::builder(&filters::filter("blocklist")).workers(2).start().expect("a start");
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.respond_to_http_call(call.token, Response::status_only(200).body("mallory"));
        for worker in [0, 1, 1] {
            sim.request().worker(worker).header("x-user", "mallory").send();
        }
        assert_eq!(sim.metric("blocked_requests").map(|metric| metric.value), Some(Value::Counter(3)));
    }
}
