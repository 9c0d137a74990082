//! Start-up checks: what about this machine costs microseconds, in words, with what to do about it.
//!
//! Each check is a function over the text of what the kernel shows; [`run`] reads it. What the kernel does not show is
//! not worth a warning, let alone an error.

use std::fmt;
use std::fs;

use crate::cores::Plan;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is so, and what it costs.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

fn warning(what: String, remedy: String) -> Option<Warning> {
    Some(Warning { what, remedy })
}

/// All checks of the machine as it is, for a node with this plan on these CPUs that locks `locked_bytes` of memory.
pub fn run(plan: &Plan, cpus: &[usize], locked_bytes: u64) -> Vec<Warning> {
    let busy = plan.busy_cpus();
    let read = |path: &str| fs::read_to_string(path).ok();
    let system = |path: &str| read(&format!("/sys/devices/system/{path}"));
    let mut warnings = Vec::new();
    warnings.extend(spinners(plan, cpus));
    warnings.extend(read("/proc/self/limits").and_then(|text| locked_memory(&text, locked_bytes)));
    if let Some(text) = read("/proc/interrupts") {
        let affinity = |irq: u32| read(&format!("/proc/irq/{irq}/effective_affinity_list"));
        warnings.extend(disk_interrupts(&text, affinity, &busy));
    }
    let mask = read("/sys/devices/virtual/workqueue/cpumask");
    warnings.extend(mask.and_then(|text| workqueues(&text, &busy)));
    let transparent = read("/sys/kernel/mm/transparent_hugepage/enabled");
    warnings.extend(transparent.and_then(|text| transparent_huge_pages(&text)));
    warnings.extend(read("/proc/meminfo").and_then(|text| reserved_huge_pages(&text)));
    let source = |file: &str| system(&format!("clocksource/clocksource0/{file}"));
    let (current, available) = (source("current_clocksource"), source("available_clocksource"));
    warnings.extend(current.and_then(|text| clock_source(&text, &available.unwrap_or_default())));
    let governors = cpus
        .iter()
        .filter_map(|cpu| Some((*cpu, system(&format!("cpu/cpu{cpu}/cpufreq/scaling_governor"))?)));
    warnings.extend(governor(&governors.collect::<Vec<_>>()));
    warnings.extend(time_status().and_then(time_synchronisation));
    warnings
}

/// Threads that spin and CPUs for them.
pub fn spinners(plan: &Plan, cpus: &[usize]) -> Option<Warning> {
    let spinning = plan.threads.iter().filter(|thread| thread.spins()).count();
    if spinning < cpus.len() || cpus.is_empty() {
        return None;
    }
    warning(
        format!("{spinning} thread(s) that spin share {} CPU(s) with the journal and the kernel", cpus.len()),
        "allow one CPU more than there are such threads, and keep the idle policy adaptive until then".into(),
    )
}

/// `/proc/self/limits`: the memory that may be locked.
pub fn locked_memory(limits: &str, needed_bytes: u64) -> Option<Warning> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    let bytes: u64 = line.split_whitespace().next()?.parse().ok()?; // "unlimited" is no number and no problem
    if bytes >= needed_bytes {
        return None;
    }
    warning(
        format!("{bytes} bytes of memory may be locked and {needed_bytes} are wanted for buffers"),
        "raise it with `ulimit -l`, or LimitMEMLOCK= of the service".into(),
    )
}

/// `/proc/interrupts`, and `effective_affinity_list` of an interrupt: disks that interrupt a CPU on which a thread
/// spins. One warning a CPU.
pub fn disk_interrupts(
    interrupts: &str,
    affinity: impl Fn(u32) -> Option<String>,
    busy: &[usize],
) -> Vec<Warning> {
    let disks: Vec<(u32, &str, Vec<usize>)> = interrupts
        .lines()
        .filter_map(|line| {
            let (irq, rest) = line.split_once(':')?;
            let irq = irq.trim().parse().ok()?;
            let name = rest.split_whitespace().last().filter(|name| is_disk(name))?;
            Some((irq, name, cpu_list(&affinity(irq)?)))
        })
        .collect();
    let on = |cpu: &usize| {
        let here: Vec<_> = disks.iter().filter(|(_, _, cpus)| cpus.contains(cpu)).collect();
        let (irq, ..) = here.first()?;
        let names: Vec<String> = here.iter().map(|(irq, name, _)| format!("{irq} ({name})")).collect();
        warning(
            format!("disks interrupt CPU {cpu}, on which a thread spins: interrupt {}", names.join(", ")),
            format!(
                "write other CPUs to /proc/irq/{irq}/smp_affinity_list, or boot with isolcpus=managed_irq,{cpu} \
                 where the driver forbids that"
            ),
        )
    };
    busy.iter().filter_map(on).collect()
}

/// `/sys/devices/virtual/workqueue/cpumask`: the CPUs on which the kernel runs its own deferred work.
pub fn workqueues(mask: &str, busy: &[usize]) -> Option<Warning> {
    let digits: Vec<u32> = mask.trim().chars().rev().filter_map(|digit| digit.to_digit(16)).collect();
    let named = |cpu: usize| digits.get(cpu / 4).is_some_and(|digit| digit >> (cpu % 4) & 1 == 1);
    let shared: Vec<usize> = busy.iter().copied().filter(|cpu| named(*cpu)).collect();
    if shared.is_empty() {
        return None;
    }
    warning(
        format!("the kernel's workqueues run on CPUs on which threads spin: {}", shown(&shared)),
        "write a mask without them to /sys/devices/virtual/workqueue/cpumask".into(),
    )
}

/// `/sys/kernel/mm/transparent_hugepage/enabled`.
pub fn transparent_huge_pages(enabled: &str) -> Option<Warning> {
    if !enabled.contains("[always]") {
        return None;
    }
    warning(
        "the kernel makes huge pages for every process by itself, and stalls threads while it gathers them"
            .into(),
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled".into(),
    )
}

/// `/proc/meminfo`: huge pages that are reserved and lie idle, for nothing here asks for them.
pub fn reserved_huge_pages(meminfo: &str) -> Option<Warning> {
    let number = |name: &str| -> Option<u64> {
        meminfo.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let bytes = number("HugePages_Free:")?.checked_mul(number("Hugepagesize:")?)?.checked_mul(1024)?;
    if bytes == 0 {
        return None;
    }
    warning(
        format!("{} MiB are reserved as huge pages, which this process does not use", bytes >> 20),
        "set vm.nr_hugepages to 0 unless another process needs them".into(),
    )
}

/// `current_clocksource` and `available_clocksource`: whether the time is read without a system call.
pub fn clock_source(current: &str, available: &str) -> Option<Warning> {
    const QUICK: [&str; 4] = ["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"];
    let current = current.trim();
    if QUICK.contains(&current) {
        return None;
    }
    let remedy = match available.split_whitespace().find(|source| QUICK.contains(source)) {
        Some(source) => {
            format!("echo {source} > /sys/devices/system/clocksource/clocksource0/current_clocksource")
        }
        None => "look in the kernel's log for why it gave up the processor's counter".into(),
    };
    warning(format!("the clock source is {current}: each look at the time costs a microsecond"), remedy)
}

/// `scaling_governor` of each CPU that has one.
pub fn governor(governors: &[(usize, String)]) -> Option<Warning> {
    let slow = |(_, governor): &&(usize, String)| governor.trim() != "performance";
    let cpus: Vec<usize> = governors.iter().filter(slow).map(|(cpu, _)| *cpu).collect();
    if cpus.is_empty() {
        return None;
    }
    warning(
        format!("the frequency of CPUs follows their load: {}", shown(&cpus)),
        "cpupower frequency-set -g performance".into(),
    )
}

/// Status bits of the kernel's clock discipline, as `adjtimex` gives them.
pub fn time_synchronisation(status: i32) -> Option<Warning> {
    if status & libc::STA_UNSYNC == 0 {
        return None;
    }
    warning(
        "nothing synchronises this machine's clock, so logged times drift from those of others".into(),
        "run chrony, ptp4l with phc2sys, or systemd-timesyncd".into(),
    )
}

/// `None` where a sandbox forbids the question.
fn time_status() -> Option<i32> {
    // SAFETY: every field is a number, so zeros are a value; `modes` 0 only asks.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes into this one value, for the length of the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex.status)
}

/// By the names that drivers of disks give their queues.
fn is_disk(name: &str) -> bool {
    const STARTS: [&str; 8] = ["nvme", "ahci", "megasas", "mpt2sas", "mpt3sas", "aacraid", "hpsa", "blkif"];
    // virtio-blk's are virtio1-req.0, virtio-scsi's virtio2-request.
    let virtio = name.starts_with("virtio") && name.contains("-req");
    virtio || STARTS.iter().any(|start| name.starts_with(start))
}

/// "0,3-5" as the kernel writes it.
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn shown(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::Policy;

    #[test]
    fn spinners_want_a_cpu_beside_them() {
        let plan = |cpus: &[usize]| Plan::new(cpus, 2, true, Policy::Busy);
        assert_eq!(spinners(&plan(&[0, 1, 2, 3]), &[0, 1, 2, 3]), None);
        assert_eq!(spinners(&plan(&[0, 1]), &[0, 1]), None);
        let few = spinners(&plan(&[0, 1, 2, 3]), &[0, 1]).unwrap();
        assert!(few.what.starts_with("3 thread(s) that spin share 2 CPU(s)"), "{few}");
        assert!(spinners(&plan(&[0]), &[0]).unwrap().remedy.contains("adaptive"));
        assert_eq!(spinners(&plan(&[]), &[]), None);
    }

    #[test]
    fn locked_memory_is_compared_with_the_soft_limit() {
        let limits = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max locked memory         {soft}              8388608              bytes     \n"
            )
        };
        assert_eq!(locked_memory(&limits("65536"), 65536), None);
        assert_eq!(locked_memory(&limits("unlimited"), u64::MAX), None);
        assert_eq!(locked_memory("", 1), None);
        let low = locked_memory(&limits("65536"), 65537).unwrap();
        assert!(low.what.contains("65536 bytes") && low.remedy.contains("ulimit -l"), "{low}");
    }

    const INTERRUPTS: &str = "           CPU0       CPU1       CPU2
 26:          0         15          0  IO-APIC   4-edge      ttyS0
 36:          0     528546          0  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 38:          0       8390          0  PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0
 44:          7          0          0  PCI-MSIX-0000:00:05.0   2-edge      nvme0q2
NMI:          0          0          0   Non-maskable interrupts
";

    #[test]
    fn disks_are_kept_off_cpus_that_spin() {
        let affinity = |irq: u32| Some(if irq == 44 { "0,2-3\n" } else { "1\n" }.to_owned());
        assert_eq!(disk_interrupts(INTERRUPTS, affinity, &[]), []);
        let found = disk_interrupts(INTERRUPTS, affinity, &[1, 2, 4]);
        assert_eq!(found.len(), 2);
        assert!(found[0].what.ends_with("CPU 1, on which a thread spins: interrupt 36 (virtio1-req.0)"));
        assert!(found[0].remedy.contains("/proc/irq/36/smp_affinity_list"));
        assert!(found[1].what.contains("44 (nvme0q2)"));
        assert_eq!(disk_interrupts(INTERRUPTS, |_| None, &[1, 2]), []);
        assert_eq!(disk_interrupts("garbage\n: \n7:", affinity, &[1]), []);
    }

    #[test]
    fn workqueues_are_found_by_the_bits_of_their_mask() {
        assert_eq!(workqueues("3\n", &[2, 3]), None);
        assert_eq!(workqueues("", &[0]), None);
        assert!(workqueues("00000001,00000000\n", &[31, 32]).unwrap().what.ends_with(": 32"));
        assert!(workqueues("ff\n", &[1, 7, 8]).unwrap().what.ends_with(": 1,7"));
    }

    #[test]
    fn huge_pages_are_neither_forced_nor_wasted() {
        assert_eq!(transparent_huge_pages("always [madvise] never\n"), None);
        assert!(transparent_huge_pages("[always] madvise never\n").is_some());
        let meminfo = |free: &str| {
            format!("HugePages_Total:      16\nHugePages_Free:  {free}\nHugepagesize:  2048 kB\n")
        };
        assert_eq!(reserved_huge_pages(&meminfo("0")), None);
        assert_eq!(reserved_huge_pages("MemTotal: 1 kB\n"), None);
        assert!(reserved_huge_pages(&meminfo("16")).unwrap().what.starts_with("32 MiB"));
    }

    #[test]
    fn a_slow_clock_source_is_told_with_a_quick_one() {
        assert_eq!(clock_source("tsc\n", "tsc hpet\n"), None);
        assert_eq!(clock_source("kvm-clock\n", ""), None);
        assert!(clock_source("hpet\n", "hpet tsc acpi_pm\n").unwrap().remedy.starts_with("echo tsc >"));
        assert!(clock_source("hpet\n", "hpet acpi_pm\n").unwrap().remedy.contains("log"));
    }

    #[test]
    fn governors_other_than_performance_are_told_by_cpu() {
        let governors = [(0, "performance\n".to_owned()), (3, "powersave\n".to_owned())];
        assert_eq!(governor(&governors[..1]), None);
        assert_eq!(governor(&[]), None);
        assert!(governor(&governors).unwrap().what.ends_with(": 3"));
    }

    #[test]
    fn an_unsynchronised_clock_is_told() {
        assert_eq!(time_synchronisation(libc::STA_PLL | libc::STA_NANO), None);
        assert!(time_synchronisation(libc::STA_PLL | libc::STA_UNSYNC).unwrap().what.contains("drift"));
    }

    #[test]
    fn lists_of_cpus_have_ranges() {
        assert_eq!(cpu_list("0,3-5,7\n"), [0, 3, 4, 5, 7]);
        assert_eq!(cpu_list("\n"), []);
    }

    #[test]
    fn this_machine_can_be_asked() {
        let cpus = crate::cores::allowed();
        for found in run(&Plan::new(&cpus, 2, true, Policy::Busy), &cpus, 1 << 20) {
            assert!(!found.what.is_empty() && !found.remedy.is_empty());
        }
    }
}
