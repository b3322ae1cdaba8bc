//! What the process itself uses. Linux tells; elsewhere these figures are absent.

/// Memory that the process holds.
pub(super) fn resident_memory_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Processor time that the process took, its own and the kernel's for it.
#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 ticks")]
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold anything. Behind it, the
    // 12th and 13th are the ticks (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells() {
        assert!(resident_memory_bytes().unwrap() > 1 << 20);
        let before = cpu_seconds().unwrap();
        let mut sum = 0u64;
        while cpu_seconds().unwrap() <= before {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum < u64::MAX);
    }
}
