//! What the filters of `guests/filters` do. Each example shows one of them; here is the rest of what they promise.

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
    fn bytes_that_arent_utf_8_go_through() {
        let outcome = start("headers").request().path(b"/\xff").header("x-any", b"\xfe").send();
        assert_eq!(outcome.trap, None);
        assert_eq!(outcome.request_header("x-any"), Some(&b"\xfe"[..]));
        assert!(outcome.logs.iter().any(|log| log.message == "request x-any: \u{fffd}"));
    }

    #[test]
    fn only_a_yes_makes_a_tester() {
        let mut sim = start("headers");
        for (value, cluster) in [("yes", Some(&b"canary"[..])), ("no", None), ("", None), ("yes, no", None)] {
            let outcome = sim.request().header("x-tester", value).header("x-cluster", "mine").send();
            assert_eq!(outcome.request_header("x-cluster"), cluster, "{value}");
        }
    }

    #[test]
    fn ping_is_a_whole_path() {
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
    fn other_bytes_stay_as_they_are() {
        assert_eq!(masked(b"\xff\x004111111111111111 4111111111111111\xfe"), b"\xff\x00[card] [card]\xfe");
    }

    #[test]
    fn a_response_without_a_body_keeps_its_length() {
        let outcome = start("body").request().response(Response::status_only(304).header("content-length", "7")).send();
        assert_eq!(outcome.response_header("content-length"), Some(&b"7"[..]));
    }

    #[test]
    fn requests_are_left_alone() {
        let outcome = start("body").request().post("http://shop/").body("4111111111111111").send();
        assert_eq!(outcome.request_body, b"4111111111111111");
    }
}

mod configuration {
    use super::*;
    use host_sim::Error;

    #[test]
    fn without_one_there_is_nothing_to_add() {
        let outcome = start("configuration").request().send();
        assert_eq!(outcome.response.headers.len(), 1);
    }

    #[test]
    fn every_problem_is_told() {
        let refused = Simulator::builder(&filters::filter("configuration")).configuration("a\nb: c\n: d").start();
        let Err(Error::Refused { logs, .. }) = refused else { panic!("it was taken") };
        let messages: Vec<_> = logs.iter().map(|log| &log.message[..]).collect();
        assert_eq!(messages, ["line 1 isn't `name: value`: a", "line 3 isn't `name: value`: : d"]);
    }

    #[test]
    fn bytes_that_arent_utf_8_are_refused() {
        let refused = Simulator::builder(&filters::filter("configuration")).configuration(b"a: \xff").start();
        assert!(matches!(refused, Err(Error::Refused { .. })));
    }
}

mod http_auth {
    use super::*;

    #[test]
    fn who_shows_no_token_isnt_asked_for() {
        let mut sim = start("http_auth");
        assert_eq!(sim.request().send().status(), Some(401));
        assert_eq!(sim.request().header("authorization", b"\xff").send().status(), Some(401));
        assert!(sim.http_calls().is_empty());
    }

    #[test]
    fn what_isnt_a_clear_answer_lets_nobody_pass() {
        let mut sim = start("http_auth");
        for (answer, status) in [(401, 401), (403, 403), (500, 503), (204, 503), (302, 503)] {
            let id = sim.request().header("authorization", "alice").open();
            let call = sim.http_calls().pop().expect("a callout");
            sim.answer_http_call(call.token, Response::status_only(answer));
            assert_eq!(sim.stream(id).finish().status(), Some(status), "{answer}");
        }
    }

    #[test]
    fn each_request_has_its_own_answer() {
        let mut sim = start("http_auth");
        let ids = ["alice", "mallory"].map(|user| sim.request().header("authorization", user).open());
        let calls = sim.http_calls();
        sim.answer_http_call(calls[1].token, Response::status_only(403));
        sim.answer_http_call(calls[0].token, Response::status_only(200));
        let statuses = ids.map(|id| sim.stream(id).respond(Response::status_only(200)).finish().status());
        assert_eq!(statuses, [Some(200), Some(403)]);
    }

    #[test]
    fn an_answer_for_a_client_that_left_harms_nobody() {
        let mut sim = start("http_auth");
        let id = sim.request().header("authorization", "alice").open();
        let call = sim.http_calls().pop().expect("a callout");
        assert!(sim.stream(id).finish().paused);
        sim.answer_http_call(call.token, Response::status_only(200));
        assert!(!sim.is_dead());
    }
}

mod grpc_auth {
    use super::*;

    #[test]
    fn a_status_that_says_nothing_lets_nobody_pass() {
        let mut sim = start("grpc_auth");
        for (answer, status) in [(16, 401), (7, 403), (14, 503), (2, 503)] {
            let id = sim.request().open();
            let call = sim.grpc_calls().pop().expect("a call");
            sim.grpc_close(call.token, answer, "");
            assert_eq!(sim.stream(id).finish().status(), Some(status), "{answer}");
        }
    }

    #[test]
    fn a_long_path_is_whole_in_the_message() {
        let mut sim = start("grpc_auth");
        sim.request().path("/".repeat(300)).open();
        let call = sim.grpc_calls().pop().expect("a call");
        // 300 as protobuf's varint.
        assert_eq!(call.messages[0], [&b"\x0a\xac\x02"[..], "/".repeat(300).as_bytes()].concat());
    }

    #[test]
    fn without_the_cluster_nobody_passes() {
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
        sim.answer_http_call(call.token, Response::status_only(200).body(users));
        sim
    }

    #[test]
    fn a_user_is_a_whole_line() {
        let mut sim = listing("mallory\ntrudy\n");
        for (user, status) in [("mallory", 403), ("trudy", 403), ("mall", 200), ("mallory\n", 200), ("", 200)] {
            assert_eq!(sim.request().header("x-user", user).send().status(), Some(status), "{user}");
        }
        assert_eq!(sim.request().send().status(), Some(200));
    }

    #[test]
    fn an_empty_list_blocks_nobody() {
        let mut sim = listing("");
        assert_eq!(sim.request().header("x-user", "").send().status(), Some(200));
        assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(200));
    }

    #[test]
    fn an_error_leaves_the_list_as_it_was() {
        let mut sim = listing("mallory");
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.answer_http_call(call.token, Response::status_only(500).body("trudy"));
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.fail_http_call(call.token);
        assert_eq!(sim.request().header("x-user", "mallory").send().status(), Some(403));
        assert_eq!(sim.request().header("x-user", "trudy").send().status(), Some(200));
    }

    #[test]
    fn workers_count_together() {
        let mut sim = Simulator::builder(&filters::filter("blocklist")).workers(2).start().expect("a start");
        sim.advance(Duration::from_secs(10));
        let call = sim.http_calls().pop().expect("a callout");
        sim.answer_http_call(call.token, Response::status_only(200).body("mallory"));
        for worker in [0, 1, 1] {
            sim.request().worker(worker).header("x-user", "mallory").send();
        }
        assert_eq!(sim.metric("blocked_requests").map(|metric| metric.value), Some(Value::Counter(3)));
    }
}
