//! Sticky picks: the published test vectors, and the guarantees of the formula.

use fixtures::{FakeRequest, FixedRandom, TrafficSplit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use traffic_split::{Configuration, Decision, Pick, Reason, Rules, Weight, rendezvous};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Returns the split `ns/name`, sticky by `x-user`, with these backends and weights.
fn split(name: &str, backends: &[(&str, Value)]) -> Value {
    TrafficSplit::new(name, "root").annotation("sticky-header", "x-user").backends(backends).build()
}

fn rules(split: Value) -> Rules {
    let configuration = Configuration::from_value(&json!({"trafficSplits": [split]}));
    Rules::new(&configuration.unwrap_or_else(|problems| panic!("{problems:#?}")), None)
}

fn weights(backends: &[(&str, u64)]) -> Rules {
    rules(split("s", &backends.iter().map(|(service, weight)| (*service, json!(weight))).collect::<Vec<_>>()))
}

fn pick<'r>(rules: &'r Rules, user: &[u8]) -> &'r str {
    let request = FakeRequest::to("root.ns:80").header("x-user", user);
    match rules.decide(&request, &mut FixedRandom::forbidden()) {
        Decision::Backend(Pick { backend, reason: Reason::Sticky, .. }) => backend,
        other => panic!("{other:?}"),
    }
}

fn users(number: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..number).map(|user| format!("user-{user}").into_bytes())
}

/// How many of the users go from which backend to which other one.
fn moves(users: u32, before: &Rules, after: &Rules) -> BTreeMap<(String, String), u32> {
    let mut moves = BTreeMap::new();
    for user in self::users(users) {
        let (from, to) = (pick(before, &user), pick(after, &user));
        if from != to {
            *moves.entry((from.to_owned(), to.to_owned())).or_default() += 1;
        }
    }
    moves
}

#[test]
fn published_vectors_match_to_the_bit() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("rendezvous.json")).expect("JSON");
    assert!(vectors.len() >= 32);
    for vector in vectors {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let hex = text(&vector["value"]);
        let value: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
        let backends = vector["backends"].as_array().expect("a list");
        let configuration = json!({"trafficSplits": [{
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"namespace": text(&vector["split"]).split_once('/').expect("a namespace").0,
                "name": text(&vector["split"]).split_once('/').expect("a name").1,
                "annotations": {"traffic-split/sticky-header": "x-user"}},
            "spec": {"service": "root", "backends": backends},
        }], "hosts": {"root.ns": format!("{}/root", text(&vector["split"]).split('/').next().expect("a namespace"))}});
        let configuration = Configuration::from_value(&configuration).expect("a configuration");
        for (backend, read) in backends.iter().zip(&configuration.traffic_splits[0].spec.backends) {
            let hash = rendezvous::hash(&text(&vector["split"]), &read.service, &value);
            assert_eq!(format!("{hash:016x}"), text(&backend["hash"]), "{vector}");
            let weight = read.weight.expect("a weight");
            if weight > Weight::default() {
                let bits = rendezvous::score(hash, weight).to_bits();
                assert_eq!(format!("{bits:016x}"), text(&backend["score"]), "{vector}");
            }
        }
        let rules = Rules::new(&configuration, None);
        if !value.is_empty() {
            assert_eq!(pick(&rules, &value), text(&vector["pick"]), "{vector}");
        }
    }
}

/// The smallest and the largest hash have valid scores too.
#[test]
fn scores_are_finite_and_ordered_for_every_hash() {
    let weight = |weight: u64| {
        let configuration = Configuration::from_value(&json!({"trafficSplits": [split("s", &[("a", json!(weight))])]}));
        configuration.expect("a configuration").traffic_splits[0].spec.backends[0].weight.expect("a weight")
    };
    for heavy in [1, 50, 1_000_000_000] {
        let score = |hash| rendezvous::score(hash, weight(heavy));
        assert_eq!(score(u64::MAX), 0.0);
        assert!(score(0).is_finite() && score(0) > 0.0);
        assert!(score(0) > score(1 << 62) && score(1 << 62) > score(1 << 63) && score(1 << 63) > score(u64::MAX));
    }
    assert_eq!(rendezvous::score(0, Weight::default()), f64::INFINITY);
}

#[test]
fn shares_of_sticky_users_follow_weights() {
    const USERS: u32 = 100_000;
    for written in [&[50, 50][..], &[10, 90], &[1, 2, 3, 4], &[1, 0, 99], &[1_000_000_000, 1_000_000_000, 500_000_000]]
    {
        let names = ["v0", "v1", "v2", "v3"];
        let backends: Vec<_> = names.into_iter().zip(written.iter().copied()).collect();
        let rules = weights(&backends);
        let mut hits: BTreeMap<&str, u32> = BTreeMap::new();
        for user in users(USERS) {
            *hits.entry(pick(&rules, &user)).or_default() += 1;
        }
        let sum: u64 = written.iter().sum();
        let mut chi_squared = 0.0;
        for (name, weight) in backends {
            let hits = f64::from(hits.get(name).copied().unwrap_or(0));
            let expected = f64::from(USERS) * weight as f64 / sum as f64;
            if weight == 0 {
                assert_eq!(hits, 0.0, "weight 0 receives no traffic, even when sticky");
            } else {
                chi_squared += (hits - expected).powi(2) / expected;
            }
        }
        // Three degrees of freedom exceed this value once in 100,000. The users are the same in every run.
        assert!(chi_squared < 25.9, "{written:?}: {chi_squared}");
    }
}

#[test]
fn ramp_from_0_to_100_never_moves_a_user_back() {
    const USERS: u32 = 4_000;
    let mut on_canary = vec![false; USERS as usize];
    let mut before = 0;
    for percent in 0..=100 {
        let rules = weights(&[("stable", 100 - percent), ("canary", percent)]);
        for (user, on_canary) in users(USERS).zip(&mut on_canary) {
            let now = pick(&rules, &user) == "canary";
            assert!(now || !*on_canary, "at {percent} %, {} moved back", user.escape_ascii());
            *on_canary = now;
        }
        let now = on_canary.iter().filter(|on| **on).count();
        assert!(now >= before);
        before = now;
    }
    assert_eq!(before, USERS as usize, "all users are on the canary at 100 %");
}

#[test]
fn user_moves_only_to_a_backend_whose_relative_weight_grew() {
    let names = ["a", "b", "c", "d"];
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..60 {
        let mut draw = || names.map(|name| (name, random.u64(0..6)));
        let (mut before, mut after) = (draw(), draw());
        before[0].1 += 1;
        after[3].1 += 1;
        let weight =
            |weights: &[(&str, u64)], name: &str| weights.iter().find(|(own, _)| *own == name).expect("a backend").1;
        for ((from, to), number) in moves(400, &weights(&before), &weights(&after)) {
            // w'ⱼ / w'ᵢ > wⱼ / wᵢ, without the divisions.
            let (grew, was) =
                (weight(&after, &to) * weight(&before, &from), weight(&before, &to) * weight(&after, &from));
            assert!(grew > was, "{number} from {from} to {to}: {before:?} {after:?}");
        }
    }
}

#[test]
fn added_backend_takes_users_and_moves_no_others() {
    let before = weights(&[("a", 3), ("b", 1)]);
    let after = weights(&[("a", 3), ("new", 2), ("b", 1)]);
    let moves = moves(3_000, &before, &after);
    assert!(moves.keys().all(|(_, to)| to == "new"), "{moves:?}");
    let moved: u32 = moves.values().sum();
    // A third of all; four standard deviations are 103.
    assert!((897..=1103).contains(&moved), "{moved}");
    assert!(
        self::moves(1_000, &before, &weights(&[("b", 1), ("a", 3)])).is_empty(),
        "the order of backends has no effect"
    );
    assert!(self::moves(1_000, &before, &weights(&[("a", 3000), ("b", 1000)])).is_empty(), "weights are relative");
}

/// Without independence, the users of one service's canary would get the canaries of all others.
#[test]
fn splits_are_independent_of_each_other() {
    let half = |name| rules(split(name, &[("v1", json!(1)), ("v2", json!(1))]));
    let (one, other) = (half("one"), half("other"));
    let same = users(10_000).filter(|user| pick(&one, user) == pick(&other, user)).count();
    // Half of them; four standard deviations are 200.
    assert!((4_800..=5_200).contains(&same), "{same}");
}

#[test]
fn any_bytes_are_a_sticky_value_with_a_stable_backend() {
    let (one, again) = (weights(&[("a", 1), ("b", 1)]), weights(&[("a", 1), ("b", 1)]));
    let mut random = fastrand::Rng::with_seed(6);
    for length in 1..300 {
        let value: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        assert_eq!(pick(&one, &value), pick(&again, &value));
    }
}
