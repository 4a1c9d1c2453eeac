//! Which replica of the controller leads: whose name is in a Lease, by the rules of Kubernetes' own leader election
//! (client-go's `leaderelection`). Nobody's clock is compared with another's: a Lease has run out when this replica has seen
//! no change of it for as long as it is good for.

use crate::error_text::{RepeatedFailure, describe};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

/// How long a Lease is good for after it was last renewed.
pub(crate) const DURATION: Duration = Duration::from_secs(9);
/// It is looked at, and renewed, as often as this. A leader that is gone is replaced after [`DURATION`] and twice this.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
/// A leader that couldn't renew it for this long leads no more after one last try: earlier than another could lead.
const DEADLINE: Duration = Duration::from_secs(6);
const LAST_TRY: Duration = Duration::from_secs(1);
/// How long an answer of the API server is waited for, and after what time it is asked again if there was none.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A replica that would lead.
pub(crate) struct LeaseCandidate {
    pub(crate) leases: Api<Lease>,
    /// The Lease's name.
    pub(crate) name: String,
    /// This replica's.
    pub(crate) identity: String,
}

/// What another has written into the Lease, and since when this replica has seen nothing else there.
type Seen = Option<(LeaseSpec, Instant)>;

/// What a look at the Lease leads to.
#[derive(Debug, PartialEq)]
enum Step {
    /// Another leads.
    Wait,
    /// This is to be in the Lease; then this replica leads.
    Hold(LeaseSpec),
}

/// What to do about a Lease in which there is `found`.
fn step(identity: &str, found: LeaseSpec, seen: &mut Seen, now: Instant, time: Timestamp) -> Step {
    let duration = i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX);
    let renewed =
        LeaseSpec { renew_time: Some(MicroTime(time)), lease_duration_seconds: Some(duration), ..found.clone() };
    match found.holder_identity.as_deref() {
        Some(holder) if holder == identity => return Step::Hold(renewed),
        None | Some("") => {}
        Some(_) => match seen {
            Some((spec, since)) if *spec == found => {
                let good_for = u64::try_from(found.lease_duration_seconds.unwrap_or(duration)).unwrap_or_default();
                if now.duration_since(*since) < Duration::from_secs(good_for) {
                    return Step::Wait;
                }
            }
            _ => {
                *seen = Some((found, now));
                return Step::Wait;
            }
        },
    }
    Step::Hold(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        acquire_time: Some(MicroTime(time)),
        lease_transitions: Some(found.lease_transitions.unwrap_or_default().saturating_add(1)),
        ..renewed
    })
}

// === impl LeaseCandidate ===

impl LeaseCandidate {
    /// Says whether this replica leads, until nobody listens any more; then gives the Lease back, so that whoever waits for it
    /// needn't wait longer.
    pub(crate) async fn run(&self, leads: watch::Sender<bool>) {
        let mut seen = None;
        // When the Lease was last renewed, if this replica leads.
        let mut renewed: Option<Instant> = None;
        let mut failures = RepeatedFailure::default();
        loop {
            let begun = Instant::now();
            let left = renewed.map_or(REQUEST_TIMEOUT, |renewed| DEADLINE.saturating_sub(renewed.elapsed()));
            let mut next = RETRY_INTERVAL;
            let mut failed = |why: String| {
                if failures.should_log(&why) {
                    warn!(why, failures = failures.count(), "the Lease, again soon");
                }
            };
            match timeout(left.clamp(LAST_TRY, REQUEST_TIMEOUT), self.attempt(&mut seen)).await {
                Ok(Ok(holds)) => {
                    failures.reset();
                    (renewed, next) = (holds.then_some(begun), INTERVAL);
                }
                Ok(Err(why)) => failed(describe(&why)),
                Err(_) => failed("no answer".into()),
            }
            renewed = renewed.filter(|renewed| renewed.elapsed() < DEADLINE);
            leads.send_if_modified(|leads| std::mem::replace(leads, renewed.is_some()) != renewed.is_some());
            tokio::select! {
                () = sleep(next) => {}
                () = leads.closed() => break,
            }
        }
        if renewed.is_some()
            && let Err(why) = self.give_back().await
        {
            warn!(why = describe(&why), "the Lease could not be given back");
        }
    }

    /// Whether this replica's name is in the Lease.
    pub(crate) async fn holds(&self) -> Result<bool, kube::Error> {
        let spec = self.leases.get_opt(&self.name).await?.and_then(|lease| lease.spec).unwrap_or_default();
        Ok(spec.holder_identity.as_ref() == Some(&self.identity))
    }

    /// Tries to hold the Lease; whether it does. What another has written in between isn't overwritten.
    pub(crate) async fn attempt(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let lease = self.leases.get_opt(&self.name).await?;
        let is_there = lease.is_some();
        let lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let found = lease.spec.unwrap_or_default();
        let is_ours = found.holder_identity.as_ref() == Some(&self.identity);
        let Step::Hold(spec) = step(&self.identity, found, seen, Instant::now(), Timestamp::now()) else {
            return Ok(false);
        };
        let held = Lease { metadata: lease.metadata, spec: Some(spec) };
        let parameters = PostParams::default();
        let written = match is_there {
            true => self.leases.replace(&self.name, &parameters, &held).await,
            false => self.leases.create(&parameters, &held).await,
        };
        match written {
            // Whoever holds it has lost nothing by that, and tries again.
            Err(kube::Error::Api(why)) if why.code == 409 && !is_ours => Ok(false),
            written => written.map(|_| true),
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        let mut lease = self.leases.get(&self.name).await?;
        if let Some(spec) = lease.spec.take_if(|spec| spec.holder_identity.as_ref() == Some(&self.identity)) {
            lease.spec = Some(LeaseSpec { lease_transitions: spec.lease_transitions, ..LeaseSpec::default() });
            self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{DURATION, LeaseSpec, MicroTime, Seen, Step, Timestamp, step};
    use std::time::Duration;
    use tokio::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(holder: &str, renewed: i64, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.into()),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            lease_duration_seconds: Some(seconds),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    fn looked(found: &LeaseSpec, seen: &mut Seen, now: Instant) -> Step {
        step("me", found.clone(), seen, now, Timestamp::UNIX_EPOCH)
    }

    #[track_caller]
    fn held(step: Step) -> LeaseSpec {
        match step {
            Step::Hold(spec) => {
                assert_eq!(spec.holder_identity.as_deref(), Some("me"));
                assert_eq!(spec.renew_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
                assert_eq!(spec.lease_duration_seconds.map(i64::from), i64::try_from(DURATION.as_secs()).ok());
                spec
            }
            Step::Wait => panic!("another leads"),
        }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_at_once() {
        let now = Instant::now();
        assert_eq!(held(looked(&LeaseSpec::default(), &mut None, now)).lease_transitions, Some(1));
        assert_eq!(held(looked(&of("", 7, 60), &mut None, now)).lease_transitions, Some(4));
        let empty = LeaseSpec { holder_identity: Some(String::new()), ..of("", 7, 60) };
        assert!(held(looked(&empty, &mut None, now)).acquire_time.is_some());
    }

    #[test]
    fn whoever_holds_it_renews_it() {
        let renewed = held(looked(&of("me", 7, 60), &mut None, Instant::now()));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(3), None));
    }

    /// Whatever the time that stands in it: that is by another's clock.
    #[test]
    fn another_s_is_taken_when_nothing_has_changed_in_it_for_as_long_as_it_is_good_for() {
        let begun = Instant::now();
        let mut seen = None;
        assert_eq!(looked(&of("other", 0, 5), &mut seen, begun), Step::Wait);
        assert_eq!(looked(&of("other", 0, 5), &mut seen, begun + 4 * SECOND), Step::Wait);
        // Renewed.
        assert_eq!(looked(&of("other", 1, 5), &mut seen, begun + 5 * SECOND), Step::Wait);
        assert_eq!(looked(&of("other", 1, 5), &mut seen, begun + 9 * SECOND), Step::Wait);
        assert_eq!(held(looked(&of("other", 1, 5), &mut seen, begun + 10 * SECOND)).lease_transitions, Some(4));
    }

    #[test]
    fn odd_durations_are_waited_for_as_they_stand_or_as_ours() {
        let now = Instant::now();
        for (seconds, good_for) in [(None, DURATION), (Some(-1), Duration::ZERO), (Some(0), Duration::ZERO)] {
            let lease = LeaseSpec { lease_duration_seconds: seconds, ..of("other", 0, 1) };
            let mut seen = None;
            assert_eq!(looked(&lease, &mut seen, now), Step::Wait);
            held(looked(&lease, &mut seen, now + good_for));
        }
    }
}
