//! Where and beside what figures were measured: they mean nothing without it.

use serde_json::{Value as Json, json};
use std::process::Command;

/// The machine, watched from a moment on.
pub struct Machine {
    steal: Option<(u64, u64)>,
}

impl Machine {
    /// Begins to watch.
    pub fn watch() -> Self {
        Machine { steal: steal() }
    }

    /// Processor, cores, load average, share of time that the hypervisor took since, and commit; what the system does
    /// not tell is null.
    pub fn facts(&self) -> Json {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let stolen = self.steal.zip(steal()).map(|((steal, all), (steal_now, all_now))| {
            let share = (steal_now - steal) as f64 / (all_now - all).max(1) as f64;
            (share * 1000.0).round() / 10.0
        });
        json!({
            "machine": format!("{}, {cores} cores, Linux {}", processor(), read("/proc/sys/kernel/osrelease").trim()),
            "load_average": read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            "steal_percent": stolen,
            "commit": commit(),
        })
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn processor() -> String {
    let about = read("/proc/cpuinfo");
    let name = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().to_owned())
}

/// Ticks stolen and ticks in all, of every core since the start of the system.
fn steal() -> Option<(u64, u64)> {
    let stat = read("/proc/stat");
    let ticks: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // The last two are guests, which are counted in the first two already.
    Some((*ticks.get(7)?, ticks.iter().take(8).sum()))
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
