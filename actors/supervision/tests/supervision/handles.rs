//! What is handed around can be.

use impetus_supervision::{
    ActorRef, ActorStatus, ChildSpec, Event, FaultKit, Fence, Reply, Running, StatusBoard,
    SupervisorRef, SystemBuilder, Verdict,
};

use crate::support::{Diary, Msg, SOON, probe};

#[test]
fn what_is_handed_around_can_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    fn moves<T: Send>(_: &T) {}

    crosses::<ActorRef<Msg>>();
    crosses::<SupervisorRef>();
    crosses::<StatusBoard>();
    crosses::<FaultKit>();
    crosses::<Fence>();
    crosses::<Running>();
    crosses::<(ActorStatus, Event, Verdict, Reply<u64>)>();
    let diary = Diary::default();
    let (a, a_ref): (ChildSpec, ActorRef<Msg>) = probe("a", &diary);
    moves(&a);
    let builder: SystemBuilder = impetus_supervision::System::builder();
    moves(&builder);
    moves(&a_ref.ask(Msg::Total, SOON));
    moves(&a_ref.send(Msg::Add(1), SOON));
}
