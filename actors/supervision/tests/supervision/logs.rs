//! Log lines and thread safety: what surrounds an actor's own code.

use std::io::Write;
use std::sync::{Arc, Mutex};

use impetus_supervision::{
    ActorRef, ActorStatus, ChildSpec, Event, FaultKit, Fence, Reply, Running, StatusBoard,
    SupervisorRef, SupervisorSpec, SystemBuilder, Verdict,
};

use crate::support::{Diary, Msg, SOON, World, probe};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_line_an_actor_writes_carries_its_name_and_generation() {
    let lines = Lines::default();
    let sink = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || sink.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let diary = Diary::default();
        let (a, a_ref) = probe("a", &diary);
        let world = World::start(SupervisorSpec::new("root").child(a));
        world.send(&a_ref, Msg::Panic);
        world.send(
            &a_ref,
            Msg::Run(Box::new(|ctx| {
                tracing::info!("from the handler");
                ctx.spawn(async { tracing::info!("from a task") });
            })),
        );
    });

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = |message: &str| -> serde_json::Value {
        let line = text.lines().find(|line| line.contains(message)).unwrap();
        serde_json::from_str(line).unwrap()
    };
    for message in ["from the handler", "from a task"] {
        let span = line(message)["span"].clone();
        let expected = serde_json::json!({"name": "a", "generation": 2});
        assert_eq!(span, expected);
    }
    let exited = line("panic: told to");
    assert_eq!(exited["fields"]["actor"], "a");
    assert_eq!(exited["fields"]["generation"], "1");
    assert_eq!(exited["span"]["name"], "root");
}

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
