//! stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role { Net, Sequencer, Shard(usize), Journal }
#[derive(Clone, Debug)]
pub struct ThreadPlan { pub name: String, pub roles: Vec<Role>, pub core: Option<usize> }
#[derive(Clone, Debug)]
pub struct Plan { pub threads: Vec<ThreadPlan> }
pub fn pin(_core: usize) -> bool { true }
impl Plan {
    pub fn new(shards: usize, _pin: bool) -> Plan {
        let mut roles = vec![Role::Net, Role::Sequencer];
        roles.extend((0..shards).map(Role::Shard));
        Plan { threads: vec![
            ThreadPlan { name: "hot".into(), roles, core: None },
            ThreadPlan { name: "journal".into(), roles: vec![Role::Journal], core: None },
        ] }
    }
    pub fn thread_of(&self, role: Role) -> usize {
        self.threads.iter().position(|t| t.roles.contains(&role)).expect("every role has a thread")
    }
}
