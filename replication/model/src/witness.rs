//! The witness: one register whose only write is a compare-and-swap.

use crate::model::Model;
use crate::mutations::Mutation;
use crate::rules::Successors;
use crate::state::{Change, Configuration, Request, State};
use crate::step::Step;

/// Models "`CAS(expected epoch → epoch + 1)`" and "it is processed once, and the answer, rejections included, is stored
/// and returned for repeats". Requests are processed in any order, as late as one likes.
pub(crate) fn process_requests(model: &Model, state: &State, out: &mut Successors) {
    for (index, request) in state.requests.iter().enumerate() {
        if accepts(model, &state.present(), request) {
            out.push(accept(state, index, request));
            if request.change == Change::Promote {
                out.push((Step::RejectHeard(*request), reject(model, state, index, request)));
            }
        } else {
            out.push((Step::Reject(*request), reject(model, state, index, request)));
        }
    }
}

/// Breaks "two checksummed slots; … one valid slot repairs the other": the newest content is gone, as if only one slot
/// were written before the reply.
pub(crate) fn forget_newest_slot(model: &Model, state: &State, out: &mut Successors) {
    let rots = model.breaks(Mutation::ForgetNewestSlot) && state.spent.crashes < model.bounds.crashes;
    if rots && state.register.len() > 1 {
        let mut next = *state;
        next.spent.crashes += 1;
        next.register.pop();
        out.push((Step::ForgetSlot(next.present()), next));
    }
}

/// Models the table of requests: each is accepted when the expected epoch matches and its own condition holds.
fn accepts(model: &Model, present: &Configuration, request: &Request) -> bool {
    let matches = present.epoch == request.expected || model.breaks(Mutation::SkipEpochCompare);
    let leads = present.primary == request.id.node && present.boot(request.id.node) == Some(request.id.boot);
    let allowed = match request.change {
        Change::Promote => may_promote(model, present, request),
        Change::Solo => leads,
        Change::Dual(_) => leads && !present.is_dual(),
        Change::Handoff => leads && present.is_dual(),
        Change::Recover => present.primary == request.id.node && !present.is_dual(),
        Change::Cold => present.is_dual(),
    };
    matches && allowed && present.epoch < model.bounds.epochs
}

/// Models PROMOTE, "proposer is in sync with this boot_id", and its exception under `durable` for a rebooted node of a
/// DUAL epoch. Whether the witness has heard the primary is left open, since that is a matter of time.
fn may_promote(model: &Model, present: &Configuration, request: &Request) -> bool {
    let known = present.boot(request.id.node);
    let in_sync = known == Some(request.id.boot)
        || known.is_some() && model.ignores_boot()
        || model.breaks(Mutation::PromoteOutOfSync);
    let rebooted = present.is_dual() && known != Some(request.id.boot);
    in_sync && present.primary != request.id.node || model.lone_promote && rebooted
}

/// Stores the next configuration. Except after DUAL and HANDOFF only the proposer is in sync, with the boot it named.
fn accept(state: &State, index: usize, request: &Request) -> (Step, State) {
    let (present, id) = (state.present(), request.id.node);
    let mut next = Configuration { epoch: present.epoch + 1, primary: id, in_sync: [None; 2] };
    next.in_sync[id as usize] = Some(request.id.boot);
    match request.change {
        Change::Dual(boot) => next.in_sync[id.peer() as usize] = Some(boot),
        Change::Handoff => {
            next.primary = id.peer();
            next.in_sync[id.peer() as usize] = present.boot(id.peer());
        }
        Change::Promote | Change::Solo | Change::Recover | Change::Cold => {}
    }
    let mut after = *state;
    after.requests.remove(index);
    after.register.push(next);
    (Step::Accept(*request, next), after)
}

/// Stores a rejection; the request is gone with it, unless repeats are processed afresh.
fn reject(model: &Model, state: &State, index: usize, request: &Request) -> State {
    let mut after = *state;
    if !model.breaks(Mutation::RepeatRequests) {
        after.requests.remove(index);
    }
    after.rejections.insert(request.id);
    after
}
