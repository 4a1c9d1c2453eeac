//! Warnings about names of hosts and Services in options and in `hosts` of --config.

mod support;

use std::path::Path;
use std::process::Command;
use support::Ran;

/// Runs the command in the directory of the guide's examples with this `--config`, and returns the warnings that it prints.
#[track_caller]
fn warnings(words: &str, config: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-split"));
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/guide");
    command.current_dir(guide).args(words.split(' ')).args(["--config", "-"]);
    command.args(["trafficsplit-50-50.yaml", "services.yaml"]);
    let ran = Ran::with_input(&mut command, config);
    assert_eq!((ran.code, ran.stdout.is_empty()), (Some(0), false), "{}", ran.stderr);
    let warnings = ran.stderr.lines().filter_map(|line| Some(line.strip_prefix("warning: ")?.to_owned()));
    // Positions are tested with the input files.
    warnings.map(|line| line.split_once("configuration: ").map_or(line.clone(), |(_, rest)| rest.into())).collect()
}

#[test]
fn host_of_a_root_without_a_split_is_reported_with_the_nearest_root() {
    for (service, remedy) in
        [("httpbin/httpbim", "did you mean `httpbin/httpbin`?"), ("shop/web", "the roots: httpbin/httpbin")]
    {
        assert_eq!(
            warnings("check", &format!("hosts: {{shop.example.com: {service}}}")),
            [format!(
                "hosts[\"shop.example.com\"]: {service} is not the root of a split, so requests to this host are not split; {remedy}"
            )]
        );
    }
    assert_eq!(warnings("check", "hosts: {shop.example.com: httpbin/httpbin}"), [""; 0]);
}

#[test]
fn host_that_is_the_name_of_a_service_is_reported() {
    for (host, message) in [
        ("httpbin.httpbin", "is a name of the Service httpbin/httpbin, which takes precedence; remove this entry"),
        (
            "httpbin.httpbin.svc.cluster.local",
            "is a name of the Service httpbin/httpbin, which takes precedence; remove this entry",
        ),
        (
            "httpbin-v1.httpbin",
            "is a name of the Service httpbin/httpbin-v1, so its requests are handled as requests to httpbin/httpbin; remove this entry",
        ),
    ] {
        assert_eq!(
            warnings("check", &format!("hosts: {{{host}: httpbin/httpbin}}")),
            [format!("hosts[\"{host}\"]: {message}")]
        );
    }
}

#[test]
fn endpoint_that_no_service_uses_is_reported() {
    for (endpoint, message) in [
        ("httpbin-v1.httpbin", None),
        ("httpbin-v1.httpbin:14001", None),
        (
            "httpbin-v1.httpbin:80",
            Some("--endpoint httpbin-v1.httpbin: is not used, because the Service has no port 80; its ports: 14001"),
        ),
        (
            "httpbin-v1.htpbin",
            Some("--endpoint httpbin-v1.htpbin: the input has no such Service; did you mean `httpbin-v1.httpbin`?"),
        ),
        (
            "web.shop",
            Some(
                "--endpoint web.shop: the input has no such Service; its Services: httpbin.httpbin, httpbin-v1.httpbin, httpbin-v2.httpbin",
            ),
        ),
    ] {
        let warnings = warnings(&format!("render envoy --endpoint {endpoint}=127.0.0.1:80"), "{}");
        assert_eq!(warnings, message.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn external_host_that_is_the_name_of_a_service_is_reported() {
    let config = "hosts: {shop.example.com: httpbin/httpbin}";
    let effect =
        "is a name of the Service httpbin/httpbin, which takes precedence; use --endpoint httpbin.httpbin=HOST:PORT";
    for (host, is_reported) in [
        ("httpbin", true),
        ("httpbin.httpbin", true),
        ("httpbin.httpbin.svc.cluster.local", true),
        ("shop.example.com", true),
        ("example.com", false),
    ] {
        let warnings = warnings(&format!("render envoy --namespace httpbin --host {host}=127.0.0.1:80"), config);
        let expected = format!("--host {host}: {effect}");
        assert_eq!(warnings, if is_reported { vec![expected] } else { vec![] });
    }
}
