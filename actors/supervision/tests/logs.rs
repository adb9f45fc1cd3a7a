//! Log lines: whose they are.
//!
//! A target of its own, because tracing decides once per process whether anybody listens to a line.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use impetus_supervision::SupervisorSpec;

#[path = "supervision/support.rs"]
mod support;

use support::{Diary, Msg, World, probe};

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
        let expected = serde_json::json!({"name": "actor", "id": "a", "generation": 2});
        assert_eq!(span, expected);
    }
    let exited = line("panic: told to");
    assert_eq!(exited["fields"]["actor"], "a");
    assert_eq!(exited["fields"]["generation"], 1);
    assert_eq!(exited["span"]["id"], "root");
}
