//! Leader election: the replica named in a Lease leads, by the rules of client-go's `leaderelection`.
//!
//! Clocks of different replicas are never compared: a Lease has expired when this replica has observed no change of it for the
//! Lease's duration.

use crate::clock::Clock;
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

/// A Lease expires this long after its last renewal.
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(9);
/// The time between two requests for the Lease. A dead leader is replaced within [`LEASE_DURATION`] and twice this interval.
pub(crate) const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// A leader that cannot renew the Lease for this long stops leading after one last attempt, before another replica can lead.
const RENEW_DEADLINE: Duration = Duration::from_secs(6);
const LAST_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// A request for the Lease fails after this time without an answer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The time between a failed request and the next.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A replica that takes part in leader election.
pub(crate) struct LeaseCandidate {
    pub(crate) leases: Api<Lease>,
    /// The Lease's name.
    pub(crate) name: String,
    /// This replica's name.
    pub(crate) identity: String,
    pub(crate) clock: Clock,
}

/// The Lease of another holder, and when this replica first saw this version of it.
type ObservedLease = Option<(LeaseSpec, Instant)>;

/// The action that a candidate takes on the Lease that it read.
#[derive(Debug, PartialEq)]
enum Step {
    /// Another replica holds the Lease.
    Wait,
    /// Write this into the Lease. If that succeeds, this replica leads.
    Hold(LeaseSpec),
}

/// Decides what to do with the Lease that was found. `time` is the wall-clock time to write.
fn step(identity: &str, found: LeaseSpec, observed: &mut ObservedLease, now: Instant, time: Timestamp) -> Step {
    let duration = i32::try_from(LEASE_DURATION.as_secs()).unwrap_or(i32::MAX);
    let renewed =
        LeaseSpec { renew_time: Some(MicroTime(time)), lease_duration_seconds: Some(duration), ..found.clone() };
    match found.holder_identity.as_deref() {
        Some(holder) if holder == identity => return Step::Hold(renewed),
        None | Some("") => {}
        Some(_) => match observed {
            Some((spec, since)) if *spec == found => {
                let seconds = u64::try_from(found.lease_duration_seconds.unwrap_or(duration)).unwrap_or_default();
                if now.duration_since(*since) < Duration::from_secs(seconds) {
                    return Step::Wait;
                }
            }
            _ => {
                *observed = Some((found, now));
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
    /// Acquires and renews the Lease, and sends whether this replica leads, until the receivers are dropped. Then releases the
    /// Lease, so that the next leader need not wait until it expires.
    pub(crate) async fn run(&self, leads: watch::Sender<bool>) {
        let mut observed = None;
        // The last renewal; `None` if this replica does not lead.
        let mut renewed: Option<Instant> = None;
        let mut failures = RepeatedFailure::default();
        loop {
            let begun = Instant::now();
            let left = renewed.map_or(REQUEST_TIMEOUT, |renewed| RENEW_DEADLINE.saturating_sub(renewed.elapsed()));
            let mut next = RETRY_INTERVAL;
            let mut failed = |why: String| {
                if failures.should_log(&why) {
                    warn!(why, failures = failures.count(), "Lease request failed; retrying");
                }
            };
            match timeout(left.clamp(LAST_ATTEMPT_TIMEOUT, REQUEST_TIMEOUT), self.attempt(&mut observed)).await {
                Ok(Ok(holds)) => {
                    failures.reset();
                    (renewed, next) = (holds.then_some(begun), RENEW_INTERVAL);
                }
                Ok(Err(why)) => failed(describe(&why)),
                Err(_) => failed("no answer".into()),
            }
            renewed = renewed.filter(|renewed| renewed.elapsed() < RENEW_DEADLINE);
            leads.send_if_modified(|leads| std::mem::replace(leads, renewed.is_some()) != renewed.is_some());
            tokio::select! {
                () = sleep(next) => {}
                () = leads.closed() => break,
            }
        }
        if renewed.is_some()
            && let Err(why) = self.release().await
        {
            warn!(why = describe(&why), "releasing the Lease failed; another replica leads after it expires");
        }
    }

    /// Returns whether this replica holds the Lease.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses the request.
    pub(crate) async fn holds(&self) -> Result<bool, kube::Error> {
        let spec = self.leases.get_opt(&self.name).await?.and_then(|lease| lease.spec).unwrap_or_default();
        Ok(spec.holder_identity.as_ref() == Some(&self.identity))
    }

    /// Tries to acquire or renew the Lease; returns whether this replica holds it. A Lease that another replica has written
    /// meanwhile is not overwritten.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses a request.
    pub(crate) async fn attempt(&self, observed: &mut ObservedLease) -> Result<bool, kube::Error> {
        let lease = self.leases.get_opt(&self.name).await?;
        let exists = lease.is_some();
        let lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let found = lease.spec.unwrap_or_default();
        let is_holder = found.holder_identity.as_ref() == Some(&self.identity);
        let Step::Hold(spec) = step(&self.identity, found, observed, Instant::now(), self.clock.now()) else {
            return Ok(false);
        };
        let held = Lease { metadata: lease.metadata, spec: Some(spec) };
        let parameters = PostParams::default();
        let written = match exists {
            true => self.leases.replace(&self.name, &parameters, &held).await,
            false => self.leases.create(&parameters, &held).await,
        };
        match written {
            // A holder that meets a conflict has not lost the Lease: it retries.
            Err(kube::Error::Api(why)) if why.code == 409 && !is_holder => Ok(false),
            written => written.map(|_| true),
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
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
    use super::{LEASE_DURATION, LeaseSpec, MicroTime, ObservedLease, Step, Timestamp, step};
    use std::time::Duration;
    use tokio::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(holder: &str, renewed: i64, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.into()),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            lease_duration_seconds: Some(seconds),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    fn decide(found: &LeaseSpec, observed: &mut ObservedLease, now: Instant) -> Step {
        step("me", found.clone(), observed, now, Timestamp::UNIX_EPOCH)
    }

    #[track_caller]
    fn held(step: Step) -> LeaseSpec {
        match step {
            Step::Hold(spec) => {
                assert_eq!(spec.holder_identity.as_deref(), Some("me"));
                assert_eq!(spec.renew_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
                assert_eq!(spec.lease_duration_seconds.map(i64::from), i64::try_from(LEASE_DURATION.as_secs()).ok());
                spec
            }
            Step::Wait => panic!("another replica holds the Lease"),
        }
    }

    #[test]
    fn lease_without_a_holder_is_acquired_at_once() {
        let now = Instant::now();
        assert_eq!(held(decide(&LeaseSpec::default(), &mut None, now)).lease_transitions, Some(1));
        assert_eq!(held(decide(&lease("", 7, 60), &mut None, now)).lease_transitions, Some(4));
        let empty = LeaseSpec { holder_identity: Some(String::new()), ..lease("", 7, 60) };
        assert!(held(decide(&empty, &mut None, now)).acquire_time.is_some());
    }

    #[test]
    fn holder_renews_its_lease() {
        let renewed = held(decide(&lease("me", 7, 60), &mut None, Instant::now()));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(3), None));
    }

    #[test]
    fn lease_of_another_holder_expires_after_its_duration_without_a_change() {
        let begun = Instant::now();
        let mut observed = None;
        assert_eq!(decide(&lease("other", 0, 5), &mut observed, begun), Step::Wait);
        assert_eq!(decide(&lease("other", 0, 5), &mut observed, begun + 4 * SECOND), Step::Wait);
        // Renewed.
        assert_eq!(decide(&lease("other", 1, 5), &mut observed, begun + 5 * SECOND), Step::Wait);
        assert_eq!(decide(&lease("other", 1, 5), &mut observed, begun + 9 * SECOND), Step::Wait);
        assert_eq!(held(decide(&lease("other", 1, 5), &mut observed, begun + 10 * SECOND)).lease_transitions, Some(4));
    }

    #[test]
    fn missing_or_negative_duration_of_another_holder_is_handled() {
        let now = Instant::now();
        for (seconds, duration) in [(None, LEASE_DURATION), (Some(-1), Duration::ZERO), (Some(0), Duration::ZERO)] {
            let odd = LeaseSpec { lease_duration_seconds: seconds, ..lease("other", 0, 1) };
            let mut observed = None;
            assert_eq!(decide(&odd, &mut observed, now), Step::Wait);
            held(decide(&odd, &mut observed, now + duration));
        }
    }
}
