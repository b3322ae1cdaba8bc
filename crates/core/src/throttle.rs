//! Limits how fast something is read.

/// Limits the bytes per second of several readers together. A read is charged afterwards, because the length of a
/// reply isn't known before.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// `None` for no limit.
    bytes_per_second: Option<u64>,
    /// When the next read may begin, in nanoseconds of a monotonic clock.
    next_at_ns: u128,
}

impl Throttle {
    /// At most this many bytes per second.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.map(|bytes| bytes.max(1)),
            next_at_ns: 0,
        }
    }

    /// How long to wait before the next read.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        let wait_ns = self
            .next_at_ns
            .saturating_sub(u128::from(now_ms) * 1_000_000);
        u64::try_from(wait_ns.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// Charges the bytes of a read.
    pub fn charge(&mut self, bytes: u64, now_ms: u64) {
        let Some(bytes_per_second) = self.bytes_per_second else {
            return;
        };
        let cost_ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second);
        self.next_at_ns = self.next_at_ns.max(nanoseconds(now_ms)) + cost_ns;
    }
}

fn nanoseconds(ms: u64) -> u128 {
    u128::from(ms) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_read_delays_the_next_by_its_length() {
        let mut throttle = Throttle::new(Some(1000));
        assert_eq!(throttle.wait_ms(0), 0);
        throttle.charge(500, 10_000);
        assert_eq!(throttle.wait_ms(10_000), 500);
        assert_eq!(throttle.wait_ms(10_400), 100);
        throttle.charge(100, 10_400);
        assert_eq!(
            throttle.wait_ms(10_400),
            200,
            "the second adds to the first"
        );
        assert_eq!(throttle.wait_ms(11_000), 0);
        throttle.charge(1000, 20_000);
        assert_eq!(throttle.wait_ms(20_000), 1000, "idle time gives no credit");
    }

    #[test]
    fn without_a_limit_there_is_no_wait() {
        let mut throttle = Throttle::new(None);
        throttle.charge(u64::MAX, 0);
        assert_eq!(throttle.wait_ms(0), 0);
    }

    proptest! {
        /// Several readers that wait as told exceed the rate by at most one reply each.
        #[test]
        fn the_rate_is_never_exceeded(
            bytes_per_second in 1_u64..1_000_000,
            replies in vec((1_u64..100_000, 0_u64..50), 1..200),
            readers in 1_usize..5,
        ) {
            let mut throttle = Throttle::new(Some(bytes_per_second));
            let (mut now_ms, mut read_bytes) = (7, 0);
            for together in replies.chunks(readers) {
                now_ms += throttle.wait_ms(now_ms);
                let allowed = u128::from(now_ms - 7) * u128::from(bytes_per_second) / 1000;
                prop_assert!(read_bytes <= allowed + 1, "{read_bytes} of {allowed}");
                for (bytes, takes_ms) in together {
                    now_ms += takes_ms;
                    throttle.charge(*bytes, now_ms);
                    read_bytes += u128::from(*bytes);
                }
            }
        }
    }
}
