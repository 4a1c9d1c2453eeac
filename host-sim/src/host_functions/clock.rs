//! Time. It advances only when the test advances it.

use super::guest::{Answer, Guest};

pub(super) fn proxy_get_current_time_nanoseconds(guest: &mut Guest<'_>, time_at: u32) -> Answer {
    let now = guest.state().now;
    guest.write(time_at, &now.to_le_bytes())
}
