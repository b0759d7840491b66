//! What processes cost.

/// CPU nanoseconds of all threads of these processes, as the scheduler counts them.
pub fn cpu_nanos(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| tasks(*pid)).sum()
}

fn tasks(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // A thread that ends meanwhile has no file any more.
    let nanos = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter_map(nanos).sum()
}
