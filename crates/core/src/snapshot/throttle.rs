//! How fast documents may be read.

/// Bounds the bytes in a second, over all who ask. What was read is paid for afterwards: how long a reply
/// is is known only when it is there.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// `None`: as fast as it goes.
    bytes_per_second: Option<u64>,
    /// When all that was read is paid for, in nanoseconds on the clock that never runs back.
    paid_at_ns: u128,
}

impl Throttle {
    /// At most so many bytes in a second.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.map(|bytes| bytes.max(1)),
            paid_at_ns: 0,
        }
    }

    /// How long to wait before anything more is read.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        let wait_ns = self
            .paid_at_ns
            .saturating_sub(u128::from(now_ms) * 1_000_000);
        u64::try_from(wait_ns.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// So many bytes were read.
    pub fn spend(&mut self, bytes: u64, now_ms: u64) {
        let Some(bytes_per_second) = self.bytes_per_second else {
            return;
        };
        let price_ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second);
        self.paid_at_ns = self.paid_at_ns.max(nanoseconds(now_ms)) + price_ns;
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
    fn what_was_read_is_waited_for() {
        let mut throttle = Throttle::new(Some(1000));
        assert_eq!(throttle.wait_ms(0), 0);
        throttle.spend(500, 10_000);
        assert_eq!(throttle.wait_ms(10_000), 500);
        assert_eq!(throttle.wait_ms(10_400), 100);
        throttle.spend(100, 10_400);
        assert_eq!(
            throttle.wait_ms(10_400),
            200,
            "the second adds to the first"
        );
        assert_eq!(throttle.wait_ms(11_000), 0);
        throttle.spend(1000, 20_000);
        assert_eq!(throttle.wait_ms(20_000), 1000, "idle time is not saved up");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut throttle = Throttle::new(None);
        throttle.spend(u64::MAX, 0);
        assert_eq!(throttle.wait_ms(0), 0);
    }

    proptest! {
        /// Several who wait as they are told and then read never exceed the rate but by one reply of each.
        #[test]
        fn the_rate_is_kept(
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
                    throttle.spend(*bytes, now_ms);
                    read_bytes += u128::from(*bytes);
                }
            }
        }
    }
}
