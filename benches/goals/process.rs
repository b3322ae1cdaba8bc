//! What the kernel says of a process: proc(5).

/// Processor time of all its threads so far, in seconds.
pub fn cpu_seconds(pid: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold blanks. User and system time are fields 14 and 15.
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The most memory that it ever had resident, pages of its program included, in MiB.
pub fn peak_mib(pid: &str) -> f64 {
    status_mib(pid, "VmHWM:")
}

/// The memory that it has resident, in MiB.
pub fn resident_mib(pid: &str) -> f64 {
    status_mib(pid, "VmRSS:")
}

fn status_mib(pid: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: f64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024.0
}
