//! `plan`: one pass over what is known, from the outside in: may it run, has it ended, worker, egress, words for people.

mod draft;
mod egress;
mod failure;
mod finish;
mod gate;
mod refusal;
mod room;
mod tell;
mod words;
mod worker;

use crate::Policy;
use crate::observed::Observed;
use crate::plan::{Action, Plan};
use draft::Draft;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::CaptureMode;
use roomscribe_crds::reason::Reason;

/// Decides. The same input gives the same plan.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    plan_under(&Policy::default(), observed, now)
}

/// Decides under what the installation has chosen.
pub fn plan_under(policy: &Policy, observed: &Observed, now: Timestamp) -> Plan {
    let mut draft = Draft::new(policy, observed, now);
    draft.remember();
    if observed.session.status.completed_at.is_some() {
        finish::finished(&mut draft);
    } else if let Some(ending) = finish::ending(&draft) {
        finish::end(&mut draft, ending);
    } else {
        run(&mut draft);
    }
    draft.conclude()
}

fn run(draft: &mut Draft<'_>) {
    if !gate::open(draft) {
        return tell::waiting(draft);
    }
    if !draft.observed.session.has_finalizer {
        draft.act(Action::AddFinalizer, Reason::Accepted);
        draft.wake_in(5);
        return tell::waiting(draft);
    }
    if !egress::livekit_has_answered(draft) {
        return tell::waiting(draft);
    }
    let listening = worker::ensure(draft);
    match draft.observed.session.spec.capture.mode {
        CaptureMode::Push => {}
        _ => egress::ensure(draft, listening),
    }
    tell::running(draft);
}
