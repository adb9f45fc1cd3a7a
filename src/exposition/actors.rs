//! Actors, as the status board shows them.

use impetus_supervision::ActorState;

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, Label, Values, subject};
use super::families::{Families, Family};
use crate::http::AppState;

subject! { "Actors";
    STATE = Descriptor::new("impetus_actor_state", Gauge, "0 or 1")
        .help("1 for the state an actor is in; the others are not there.")
        .labels(&[
            Label::actor(),
            Label {
                name: "state",
                values: Values::OneOf(|| ActorState::ALL.map(ActorState::as_str).to_vec()),
            },
        ]);
    RESTARTS = Descriptor::new("impetus_actor_restarts_total", Counter, "restarts")
        .help("Times an actor was started anew.")
        .labels(&[Label::actor()]);
    AGE = Descriptor::new("impetus_actor_status_age_seconds", Gauge, "seconds")
        .help("Time since an actor last said how it is.")
        .labels(&[Label::actor()])
        .except("for an actor that has not said anything yet");
    MAILBOX = Descriptor::new("impetus_actor_mailbox_depth", Gauge, "messages")
        .help("Messages that wait for an actor.")
        .labels(&[Label::actor()]);
}

pub(super) fn expose(state: &AppState, out: &mut Families) {
    let Some(board) = state.plane.sources().board.get() else {
        return;
    };
    let mut states = Family::new(&STATE);
    let mut restarts = Family::new(&RESTARTS);
    let mut ages = Family::new(&AGE);
    let mut mailboxes = Family::new(&MAILBOX);
    for actor in board.snapshot() {
        let name = actor.name.as_str();
        // Actors are many, as workers are: all states of each would be a quarter of the text.
        states.add(&[name, actor.state.as_str()], 1.0);
        restarts.count(&[name], actor.restarts);
        if let Some(age) = actor.status_age_seconds {
            ages.add(&[name], age);
        }
        if let Some(mailbox) = actor.mailbox {
            mailboxes.add(&[name], mailbox.depth as f64);
        }
    }
    out.add(states);
    out.add(restarts);
    out.add(ages);
    out.add(mailboxes);
}
