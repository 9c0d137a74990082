//! Cores: which thread does what where, folded onto fewer threads by a fixed order when cores are few.
//!
//! The journal always has a thread of its own, because it blocks: its writes are synchronous. It wants no core of its
//! own, but one must be left where it can wake up beside threads that spin, so of `n` cores `n - 1` are given to
//! spinning threads (of one core, that one). Their roles come apart in this order, the costliest neighbour first:
//!
//! | spinning threads | they are |
//! |---|---|
//! | 1 | everything |
//! | 2 | net with replication · sequencer with shards: system calls stay away from what decides |
//! | 3 | … · sequencer · shards: stamping the next frame overlaps with applying this one |
//! | 4 | net · replication · …: an acknowledgement does not wait behind clients |
//! | 5 … | one shard more comes out each time, until each has its thread; shards are dealt out round robin |
//!
//! Without replication its row is left out. Cores beyond a thread for each role stay free.

use crate::idle::Policy;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ingress and egress: the sockets of clients.
    Net,
    /// The sockets of the standby.
    Replication,
    /// Merges, stamps, appends to the log ring.
    Sequencer,
    /// Applies the frames of its partitions; counted from 0.
    Shard(usize),
    /// Group commit. Blocks.
    Journal,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPlan {
    /// Name for the operating system, at most 15 bytes.
    pub name: String,
    /// What it does, in the order in which its loop should.
    pub roles: Vec<Role>,
    /// The CPU it is pinned to; `None` leaves it to the kernel.
    pub core: Option<usize>,
}

impl ThreadPlan {
    /// Whether it spins while there is nothing to do; the journal's blocks.
    pub fn spins(&self) -> bool {
        !self.roles.contains(&Role::Journal)
    }
}

/// All threads of a node, the journal's last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each role is in exactly one of them.
    pub threads: Vec<ThreadPlan>,
}

impl Plan {
    /// The plan for these CPUs, as [`allowed`] names them.
    ///
    /// Under `busy` each spinning thread is pinned to a CPU of its own and the journal to the first, where the kernel
    /// does most of its own work. Under `adaptive`, and where there is but one CPU, nothing is pinned: on shared cores
    /// the kernel must be free to move a thread away from a neighbour.
    ///
    /// # Panics
    /// Where there is no shard.
    pub fn new(cpus: &[usize], shards: usize, replicates: bool, policy: Policy) -> Self {
        assert!(shards > 0, "a node without shards applies nothing");
        let spinning = fold(cpus.len().saturating_sub(1).max(1), shards, replicates);
        let pins = policy == Policy::Busy && cpus.len() > 1;
        let core = |place: usize| pins.then(|| cpus[place]);
        let mut threads: Vec<ThreadPlan> = (1..)
            .zip(spinning)
            .map(|(place, (name, roles))| ThreadPlan { name, roles, core: core(place) })
            .collect();
        threads.push(ThreadPlan { name: "journal".into(), roles: vec![Role::Journal], core: core(0) });
        Plan { threads }
    }

    /// CPUs on which a pinned thread spins.
    pub fn busy_cpus(&self) -> Vec<usize> {
        self.threads.iter().filter(|thread| thread.spins()).filter_map(|thread| thread.core).collect()
    }
}

/// The CPUs this process may run on, ascending; empty where the kernel does not say.
pub fn allowed() -> Vec<usize> {
    let mut cpus: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cpus.sort_unstable();
    cpus
}

/// Keeps the calling thread on one CPU; `false` where the kernel refuses.
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// The table above: names and roles of at most `threads` threads.
fn fold(threads: usize, shards: usize, replicates: bool) -> Vec<(String, Vec<Role>)> {
    let replication = || replicates.then_some(Role::Replication);
    let all_shards = || (0..shards).map(Role::Shard);
    if threads == 1 {
        let roles = [Role::Net].into_iter().chain(replication()).chain([Role::Sequencer]).chain(all_shards());
        return vec![("engine".into(), roles.collect())];
    }
    let apart = replicates && threads >= 4;
    let mut plan = match apart {
        true => vec![("net".into(), vec![Role::Net]), ("replication".into(), vec![Role::Replication])],
        false => vec![("net".into(), [Role::Net].into_iter().chain(replication()).collect())],
    };
    if threads == 2 {
        let roles = [Role::Sequencer].into_iter().chain(all_shards());
        plan.push(("deciding".into(), roles.collect()));
        return plan;
    }
    plan.push(("sequencer".into(), vec![Role::Sequencer]));
    let hosts = (threads - plan.len()).min(shards);
    plan.extend((0..hosts).map(|host| {
        let roles = (host..shards).step_by(hosts).map(Role::Shard);
        (format!("shard-{host}"), roles.collect())
    }));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::*;

    fn roles(cpus: usize, shards: usize, replicates: bool) -> Vec<Vec<Role>> {
        let cpus: Vec<usize> = (0..cpus).collect();
        let plan = Plan::new(&cpus, shards, replicates, Policy::Adaptive);
        plan.threads.into_iter().map(|thread| thread.roles).collect()
    }

    #[test]
    fn roles_come_apart_in_the_order_of_the_table() {
        let together = vec![vec![Net, Replication, Sequencer, Shard(0), Shard(1)], vec![Journal]];
        assert_eq!(roles(0, 2, true), together);
        assert_eq!(roles(1, 2, true), together);
        assert_eq!(roles(2, 2, true), together);
        assert_eq!(
            roles(3, 2, true),
            [vec![Net, Replication], vec![Sequencer, Shard(0), Shard(1)], vec![Journal]]
        );
        assert_eq!(
            roles(4, 2, true),
            [vec![Net, Replication], vec![Sequencer], vec![Shard(0), Shard(1)], vec![Journal]]
        );
        assert_eq!(
            roles(5, 2, true),
            [vec![Net], vec![Replication], vec![Sequencer], vec![Shard(0), Shard(1)], vec![Journal]]
        );
        let apart =
            [vec![Net], vec![Replication], vec![Sequencer], vec![Shard(0)], vec![Shard(1)], vec![Journal]];
        assert_eq!(roles(6, 2, true), apart);
        assert_eq!(roles(64, 2, true), apart);
    }

    #[test]
    fn without_replication_shards_come_apart_a_core_earlier() {
        assert_eq!(
            roles(3, 3, false),
            [vec![Net], vec![Sequencer, Shard(0), Shard(1), Shard(2)], vec![Journal]]
        );
        assert_eq!(
            roles(5, 3, false),
            [vec![Net], vec![Sequencer], vec![Shard(0), Shard(2)], vec![Shard(1)], vec![Journal]]
        );
    }

    #[test]
    fn every_role_has_one_thread_and_every_spinner_leaves_a_core_to_the_journal() {
        for (cpus, shards, replicates) in
            (0..12).flat_map(|cpus| (1..5).flat_map(move |s| [(cpus, s, true), (cpus, s, false)]))
        {
            let ids: Vec<usize> = (10..10 + cpus).collect();
            let plan = Plan::new(&ids, shards, replicates, Policy::Busy);
            let mut found: Vec<Role> = plan.threads.iter().flat_map(|thread| thread.roles.clone()).collect();
            found.sort_unstable();
            let mut wanted: Vec<Role> = (0..shards).map(Shard).chain([Net, Sequencer, Journal]).collect();
            wanted.extend(replicates.then_some(Replication));
            wanted.sort_unstable();
            assert_eq!(found, wanted);
            let spinning = plan.threads.iter().filter(|thread| thread.spins()).count();
            assert!(spinning <= cpus.saturating_sub(1).max(1));
            assert!(plan.threads.iter().all(|thread| thread.name.len() <= 15));
            let mut pinned: Vec<usize> = plan.threads.iter().filter_map(|thread| thread.core).collect();
            pinned.sort_unstable();
            pinned.dedup();
            assert_eq!(pinned.len(), if cpus > 1 { plan.threads.len() } else { 0 });
            assert_eq!(plan.busy_cpus().len(), if cpus > 1 { spinning } else { 0 });
        }
    }

    #[test]
    fn a_thread_can_be_kept_on_a_cpu_it_may_use() {
        let cpus = allowed();
        assert!(!cpus.is_empty());
        std::thread::spawn(move || {
            assert!(pin(cpus[0]));
            assert_eq!(allowed(), [cpus[0]]);
        })
        .join()
        .unwrap();
    }
}
