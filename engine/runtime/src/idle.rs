//! stub
use std::time::Instant;
#[derive(Clone, Copy, Debug)]
pub enum Policy { Adaptive, Busy, Blocking }
pub enum Action { Spin, Yield, Sleep }
pub struct Idle { policy: Policy, since: Option<Instant>, n: u32 }
impl Idle {
    pub fn new(policy: Policy) -> Self { Idle { policy, since: None, n: 0 } }
    pub fn worked(&mut self) { self.since = None; self.n = 0; }
    pub fn idle(&mut self, now: Instant) -> Action {
        self.n += 1;
        match self.policy {
            Policy::Busy => Action::Spin,
            Policy::Blocking => Action::Sleep,
            Policy::Adaptive => {
                let since = *self.since.get_or_insert(now);
                if now - since > std::time::Duration::from_micros(50) { self.since = None; Action::Sleep }
                else if self.n % 16 == 0 { Action::Yield } else { Action::Spin }
            }
        }
    }
}
