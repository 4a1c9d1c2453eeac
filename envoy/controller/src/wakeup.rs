//! Decides when a change of an object wakes the reconcile loop.
//!
//! Each pass plans all objects, so a namespace that changes without end would keep the controller busy, and changes of other
//! namespaces would wait behind its passes. Each namespace therefore has a budget of wakeups. A change
//! above the budget waits for the next refill, or for the next pass if that comes first.

use crate::token_bucket::TokenBucket;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A pass waits until nothing has changed for this long.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Further changes delay the pass that serves the first change by at most this time.
const MAX_DELAY: Duration = Duration::from_millis(300);
/// The number of changes of one namespace that may wake the reconcile loop in a row.
pub(crate) const MAX_WAKEUPS: u32 = 10;
/// The time after which a namespace's budget gets one wakeup back.
const REFILL_INTERVAL: Duration = Duration::from_secs(5);
/// Above this number of namespaces, full budgets are dropped, because a new budget is also full.
const MAX_BUDGETS: usize = 1024;

/// Wakes the one task that waits for changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakeup(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// For the one task in [`Wakeup::settled`].
    notify: Notify,
    /// For tasks in [`Wakeup::pending`].
    woken: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first and the last change since the last pass began.
    pending: Option<(Instant, Instant)>,
    budgets: BTreeMap<String, Budget>,
}

/// The wakeups of one namespace.
#[derive(Debug)]
struct Budget {
    wakeups: TokenBucket,
    /// A change waits for the next refill.
    is_waiting: bool,
}

// === impl Wakeup ===

impl Wakeup {
    /// Reports that an object of this namespace has changed.
    pub(crate) fn changed(&self, namespace: &str) {
        let now = Instant::now();
        let refill = {
            let mut state = self.state();
            if state.budgets.len() >= MAX_BUDGETS {
                state.budgets.retain(|_, budget| budget.is_in_use(now));
            }
            let budget = state.budgets.entry(namespace.to_owned()).or_insert_with(|| Budget::new(now));
            match budget.take(now) {
                true => None,
                false if budget.is_waiting => return,
                false => {
                    budget.is_waiting = true;
                    Some(Instant::from_std(budget.wakeups.next_refill()))
                }
            }
        };
        let Some(refill) = refill else { return self.wake() };
        let (wakeup, namespace) = (self.clone(), namespace.to_owned());
        tokio::spawn(async move {
            sleep_until(refill).await;
            if let Some(budget) = wakeup.state().budgets.get_mut(&namespace) {
                budget.is_waiting = false;
            }
            wakeup.changed(&namespace);
        });
    }

    /// Wakes the reconcile loop regardless of the budgets.
    pub(crate) fn wake(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.pending = Some((state.pending.map_or(now, |(first, _)| first), now));
        drop(state);
        self.0.notify.notify_one();
        self.0.woken.notify_waiters();
    }

    /// Waits for a change, and then until changes pause for [`DEBOUNCE`], at most [`MAX_DELAY`].
    pub(crate) async fn settled(&self) {
        loop {
            let pending = self.state().pending;
            let Some((first, last)) = pending else {
                self.0.notify.notified().await;
                continue;
            };
            let due = (last + DEBOUNCE).min(first + MAX_DELAY);
            if Instant::now() >= due {
                self.state().pending = None;
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Whether something has changed since [`settled`](Self::settled) returned.
    pub(crate) fn is_pending(&self) -> bool {
        self.state().pending.is_some()
    }

    /// Waits for a change since [`settled`](Self::settled) returned. The change stays pending.
    pub(crate) async fn pending(&self) {
        let woken = self.0.woken.notified();
        if !self.is_pending() {
            woken.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Budget ===

impl Budget {
    fn new(now: Instant) -> Self {
        Self { wakeups: TokenBucket::new(MAX_WAKEUPS, REFILL_INTERVAL, now.into_std()), is_waiting: false }
    }

    /// Takes one wakeup; returns `false` if none was left.
    fn take(&mut self, now: Instant) -> bool {
        self.wakeups.refill(now.into_std());
        let is_left = !self.wakeups.is_empty();
        self.wakeups.take();
        is_left
    }

    /// Returns whether dropping the budget would give the namespace extra wakeups.
    fn is_in_use(&self, now: Instant) -> bool {
        self.is_waiting || !self.wakeups.is_full_at(now.into_std())
    }
}

#[cfg(test)]
mod tests {
    use super::{DEBOUNCE, MAX_BUDGETS, MAX_DELAY, MAX_WAKEUPS, REFILL_INTERVAL, Wakeup};
    use std::time::Duration;
    use tokio::time::{Instant, advance, sleep, timeout};

    const STEP: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn pass_waits_for_a_pause_and_at_most_the_maximum_delay() {
        let wakeup = Wakeup::default();
        assert!(timeout(10 * MAX_DELAY, wakeup.settled()).await.is_err(), "nothing has changed");

        wakeup.wake();
        let begun = Instant::now();
        wakeup.settled().await;
        assert_eq!(begun.elapsed(), DEBOUNCE);
        assert!(timeout(10 * MAX_DELAY, wakeup.settled()).await.is_err(), "one change is one pass");

        let (begun, others) = (Instant::now(), wakeup.clone());
        let changes = tokio::spawn(async move {
            for _ in 0..100 {
                others.wake();
                sleep(STEP).await;
            }
        });
        wakeup.settled().await;
        assert_eq!(begun.elapsed(), MAX_DELAY);
        changes.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn duration_of_a_pass_counts_as_a_pause() {
        let wakeup = Wakeup::default();
        wakeup.wake();
        advance(DEBOUNCE).await;
        let begun = Instant::now();
        wakeup.settled().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// Advances the clock in steps for `duration` while a namespace changes at each step; returns the number of wakeups.
    async fn wakeups(wakeup: &Wakeup, namespace: &str, duration: Duration) -> u32 {
        let (mut count, until) = (0, Instant::now() + duration);
        while Instant::now() < until {
            wakeup.changed(namespace);
            if wakeup.is_pending() {
                count += 1;
                wakeup.state().pending = None;
            }
            sleep(STEP).await;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn namespace_that_changes_without_end_wakes_once_per_interval() {
        let wakeup = Wakeup::default();
        assert_eq!(wakeups(&wakeup, "busy", MAX_WAKEUPS * STEP).await, MAX_WAKEUPS);
        assert_eq!(wakeups(&wakeup, "busy", 10 * REFILL_INTERVAL).await, 10);
        // Another namespace wakes at once.
        wakeup.changed("quiet");
        assert!(wakeup.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn last_change_above_the_budget_wakes_after_a_refill() {
        let wakeup = Wakeup::default();
        for _ in 0..=MAX_WAKEUPS {
            wakeup.changed("busy");
        }
        wakeup.settled().await;
        assert!(!wakeup.is_pending());
        sleep(REFILL_INTERVAL).await;
        assert!(wakeup.is_pending());
        wakeup.settled().await;
        sleep(2 * REFILL_INTERVAL).await;
        assert!(!wakeup.is_pending(), "once");
    }

    #[tokio::test(start_paused = true)]
    async fn only_full_budgets_are_dropped() {
        let wakeup = Wakeup::default();
        for _ in 0..MAX_WAKEUPS {
            wakeup.changed("busy");
        }
        for number in 0..2 * MAX_BUDGETS {
            wakeup.changed(&format!("other-{number}"));
            if number == MAX_BUDGETS / 2 {
                sleep(REFILL_INTERVAL).await;
            }
        }
        let state = wakeup.state();
        assert!(state.budgets.contains_key("busy") && !state.budgets.contains_key("other-0"));
        assert!(state.budgets.contains_key(&format!("other-{}", 2 * MAX_BUDGETS - 1)));
    }
}
