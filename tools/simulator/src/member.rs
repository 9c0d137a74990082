//! A machine with a node on it: what outlives the process, and the process while it runs.

use crate::disk::Disk;
use crate::media::Media;
use crate::node::Node;
use touchline_core::Now;
use touchline_journal::read;
use touchline_lockstep::Replica;
use touchline_node::recovery::newest_snapshot;
use touchline_protocol::{ChainHash, Seq};

/// A machine.
#[derive(Default)]
pub(crate) struct Member {
    pub(crate) disk: Disk,
    pub(crate) node: Option<Node>,
    /// Its part in a cluster; `None` for a node that stands alone.
    pub(crate) replica: Option<Replica>,
    pub(crate) boot: u128,
    /// True time of the machine's last start, from which its monotonic clock counts.
    pub(crate) booted_ns: u64,
    /// What its UTC is ahead of the true one, nanoseconds.
    pub(crate) clock_error_ns: i64,
    /// True time until which the process does not run.
    pub(crate) paused_until_ns: u64,
    /// Whether its monotonic clock does not see that.
    pub(crate) sleeps: bool,
    /// True time until which the disk takes no write.
    pub(crate) slow_until_ns: u64,
    /// True time before which it is not started again.
    pub(crate) down_until_ns: u64,
    pub(crate) ticked_ns: u64,
    /// Whether it holds its prices back.
    pub(crate) held: bool,
    /// True time at which it is to be killed.
    pub(crate) kill_at_ns: Option<u64>,
    /// How fast its clocks run, millionths more or less than they should.
    pub(crate) drift_ppm: i64,
    /// The UTC at which its wall clock stands still.
    pub(crate) stopped_utc_ns: Option<i64>,
    /// The last heartbeat of this boot that any peer acknowledged, by its sending on the own clock.
    pub(crate) echoed_ns: u64,
    /// What can happen to its disk beside torn writes.
    pub(crate) media: Media,
    /// What its journal was said to hold: the last frame, and the hash of the log up to it.
    pub(crate) promised: (Seq, ChainHash),
}

impl Member {
    /// What its clocks say.
    pub(crate) fn now(&self, now: Now) -> Now {
        let since_ns = now.mono_ns.saturating_sub(self.booted_ns);
        let drift_ns = since_ns as i64 / 1000 * self.drift_ppm / 1000;
        let utc_ns = self.stopped_utc_ns.unwrap_or(now.utc_ns + self.clock_error_ns + drift_ns);
        Now { mono_ns: since_ns.saturating_add_signed(drift_ns), utc_ns }
    }

    /// It goes on at once, if it stands still.
    pub(crate) fn wake(&mut self, now_ns: u64) {
        let left_ns = std::mem::take(&mut self.paused_until_ns).saturating_sub(now_ns);
        // Its clock lacks only what was slept.
        if std::mem::take(&mut self.sleeps) {
            self.booted_ns -= left_ns;
        }
    }

    /// Whether the process runs now.
    pub(crate) fn runs(&self, now: Now) -> bool {
        self.node.is_some() && self.paused_until_ns <= now.mono_ns
    }

    /// The journal said that it holds everything up to here.
    pub(crate) fn promise(&mut self, durable: (Seq, ChainHash)) {
        if durable.0 > self.promised.0 {
            self.promised = durable;
        }
    }

    /// Whatever a crash left of the journal, it begins with everything that was durable: the chain hash of one
    /// frame stands for all before it.
    pub(crate) fn check_promise(&self) -> Result<(), String> {
        let (seq, chain) = self.promised;
        let base = newest_snapshot(&self.disk, 1).map_err(|error| error.to_string())?.map(|(base, _)| base);
        let mut found = base.filter(|base| base.seq == seq).map(|base| base.chain);
        let journal = read(&self.disk, base.as_ref(), &mut |frame| {
            if frame.seq() == seq {
                found = Some(frame.chain());
            }
            Ok(())
        });
        let last = journal.map_err(|error| error.to_string())?.position.seq;
        match found {
            Some(found) if found == chain => Ok(()),
            // What lies before a snapshot is in it.
            None if seq == Seq(0) || base.is_some_and(|base| base.seq > seq) => Ok(()),
            None => Err(format!("frame {seq} was durable, but the journal ends at {last}")),
            Some(_) => Err(format!("up to frame {seq} the journal is not the one that was durable")),
        }
    }
}
