//! A budget of events that is refilled over time.

use std::time::{Duration, Instant};

/// A bucket of tokens: each event takes one token, and each interval puts one back, up to the capacity.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    capacity: u32,
    interval: Duration,
    left: u32,
    refilled: Instant,
}

impl TokenBucket {
    /// Returns a full bucket.
    pub(crate) fn new(capacity: u32, interval: Duration, now: Instant) -> Self {
        Self { capacity, interval, left: capacity, refilled: now }
    }

    /// Puts back the tokens of the intervals that are over.
    pub(crate) fn refill(&mut self, now: Instant) {
        while self.left < self.capacity && now.saturating_duration_since(self.refilled) >= self.interval {
            self.left += 1;
            self.refilled += self.interval;
        }
        if self.left == self.capacity {
            self.refilled = now;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Takes a token; an empty bucket stays empty.
    pub(crate) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Returns the time at which a bucket that is not full gets its next token.
    pub(crate) fn next_refill(&self) -> Instant {
        self.refilled + self.interval
    }

    /// Returns whether a refill at this time fills the bucket.
    pub(crate) fn is_full_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.refilled) >= self.interval * (self.capacity - self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;
    use std::time::{Duration, Instant};

    #[test]
    fn each_interval_puts_one_token_back_up_to_the_capacity() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut bucket = TokenBucket::new(2, Duration::from_secs(10), begun);
        bucket.refill(at(5));
        bucket.take();
        assert!(!bucket.is_empty() && !bucket.is_full_at(at(14)) && bucket.is_full_at(at(15)));
        bucket.take();
        bucket.take();
        assert!(bucket.is_empty());
        assert_eq!(bucket.next_refill(), at(15));
        bucket.refill(at(14));
        assert!(bucket.is_empty());
        bucket.refill(at(15));
        assert!(!bucket.is_empty() && !bucket.is_full_at(at(24)) && bucket.is_full_at(at(25)));
        bucket.refill(at(1000));
        assert!(bucket.is_full_at(at(1000)));
        bucket.take();
        assert_eq!(bucket.next_refill(), at(1010), "time in a full bucket does not count");
    }
}
