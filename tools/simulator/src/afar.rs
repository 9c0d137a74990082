//! The disaster recovery site under a seed: far away, often gone, and always a front of what was committed.

use crate::cluster::Cluster;
use crate::net::place as party;
use crate::world::World;
use std::sync::Arc;
use touchline_core::snapshot::Snapshot;
use touchline_lockstep::register::Boot;
use touchline_lockstep::site::SiteAction;
use touchline_lockstep::{Log, Message, Point, Role, Site};
use touchline_node::History;
use touchline_protocol::*;

const MS: u64 = 1_000_000;
/// The site's place among the parties.
pub(crate) const SITE: usize = 3;

/// The site: its process, and its log, which outlives it.
#[derive(Default)]
pub(crate) struct Afar {
    site: Option<Site>,
    log: History,
    down_until_ns: u64,
    ticked_ns: u64,
}

impl Afar {
    /// The end of its log.
    pub(crate) fn end(&self) -> Point {
        self.log.end()
    }

    /// Whether it leads.
    fn leads(&self) -> bool {
        self.site.as_ref().is_some_and(Site::leads)
    }
}

impl Cluster {
    /// Whether the site has everything that was committed.
    pub(crate) fn site_is_level(&self) -> bool {
        self.afar.end().seq == self.committed()
    }

    /// The chain hash of a committed frame.
    fn archived(&self, seq: Seq) -> Option<ChainHash> {
        let bytes = self.archive.get(seq.0.checked_sub(1)? as usize)?;
        FrameRef::parse(bytes).ok().map(|frame| frame.chain())
    }
}

impl World {
    /// A message for the site.
    pub(crate) fn deliver_to_site(&mut self, message: Message) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        if let Some(site) = &mut self.shared().afar.site {
            site.receive(now_ns, message);
        }
        self.act_for_site()
    }

    pub(crate) fn tick_site(&mut self) -> Result<(), String> {
        let now = self.now;
        // It goes away now and then for a while, as a line over land does.
        let goes = !self.calm && self.random.chance(0.0003);
        let until = now.mono_ns + self.random.below(100 * MS);
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let afar = &mut cluster.afar;
        if goes && afar.site.take().is_some() {
            afar.down_until_ns = until;
            self.out.site_stops += 1;
            return Ok(());
        }
        if now.mono_ns < afar.ticked_ns + MS || now.mono_ns < afar.down_until_ns {
            return Ok(());
        }
        afar.ticked_ns = now.mono_ns;
        let boot = Boot(u128::from(self.random.bits()) << 1 | 1);
        let site = afar
            .site
            .get_or_insert_with(|| Site::new(cluster.id, boot, cluster.settings, &afar.log, now.mono_ns));
        site.tick(now.mono_ns, now.utc_ns);
        self.act_for_site()
    }

    fn act_for_site(&mut self) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let Some(site) = &mut cluster.afar.site else { return Ok(()) };
        let (messages, actions) = (site.take_messages(), site.take_actions());
        for (to, message) in messages {
            cluster.net.send(now_ns, &mut self.random, SITE, party(to), message);
        }
        for action in actions {
            match action {
                SiteAction::Append(bytes) => {
                    for frame in touchline_lockstep::log::frames(&bytes) {
                        if cluster.archived(frame.seq()) != Some(frame.chain()) {
                            return Err(format!("the site was given frame {}, never committed", frame.seq()));
                        }
                        cluster.afar.log.push(&frame);
                    }
                }
                SiteAction::Install(at, bytes) => {
                    let snapshot = Snapshot::read(&bytes).map_err(|error| error.to_string())?;
                    snapshot.engine(1).map_err(|error| error.to_string())?;
                    if cluster.archived(at.seq) != Some(at.chain) || snapshot.place().chain != at.chain {
                        return Err(format!(
                            "the site was given the state after frame {}, never committed",
                            at.seq
                        ));
                    }
                    cluster.afar.log = History::behind(at, Arc::from(bytes));
                    if let Some(site) = &mut cluster.afar.site {
                        site.installed(&cluster.afar.log);
                    }
                    self.out.site_installs += 1;
                }
                SiteAction::Lead(_) => {}
                SiteAction::Broken(seq) => {
                    return Err(format!("frame {seq} does not continue the site's log"));
                }
            }
        }
        Ok(())
    }

    /// Both nodes are lost, and somebody decides that the site is to lead: it has everything, and when the nodes come back
    /// they do not lead.
    pub(crate) fn relocate(&mut self) -> Result<(), String> {
        self.go_down(0);
        self.go_down(1);
        for member in &mut self.members {
            member.down_until_ns = u64::MAX;
        }
        self.until("the site was not made the primary", |world| {
            let now = world.now;
            let known = world.shared().committed();
            let site = world.shared().afar.site.as_mut();
            if let Some(site) = site {
                site.promote(now.mono_ns, now.utc_ns, known);
            }
            world.shared().afar.leads()
        })?;
        let cluster = self.shared();
        let register = cluster.third.witness.as_ref().and_then(|w| w.register().copied());
        let lost = register.map(|register| register.forced);
        if lost.is_none_or(|lost| lost.from <= lost.to) {
            return Err(format!("the site has everything, and yet frames are said to be lost: {lost:?}"));
        }
        self.heal();
        let begun_ns = self.now.mono_ns;
        self.until("", |world| world.now.mono_ns > begun_ns + 300 * MS)?;
        self.out.relocations += 1;
        let leads = |role: Role| !matches!(role, Role::Idle | Role::Gone);
        match self.members.iter().position(|m| m.replica.as_ref().is_some_and(|r| leads(r.role()))) {
            Some(place) => Err(format!("the site leads, and machine {place} does not stand back")),
            None => Ok(()),
        }
    }

    /// Goes on, with nobody betting, until something is so.
    fn until(&mut self, why: &str, so: impl Fn(&mut World) -> bool) -> Result<(), String> {
        for _ in 0..30_000 {
            self.step_cluster()?;
            if so(self) {
                return Ok(());
            }
        }
        Err(why.into())
    }
}
