//! A tree with a past, under virtual time: one actor has been replaced, and works on something.

use impetus_supervision::{
    Actor, ActorError, ChildSpec, Context, Message, Significance, StatusReport, SupervisorSpec,
    TestExecutor,
};

use super::*;

/// What the tree and the last run show.
pub(super) fn exhibits() -> Exhibits {
    let world = TestExecutor::new();
    let running = world.system().start(spec()).unwrap();
    world.advance(Duration::from_millis(2500));
    Exhibits {
        actors: StatusNode::nest(running.board().snapshot()),
        previous_run: Some(json!({
            "version": "0.0.9",
            "started_at": "2024-12-31T08:00:00Z",
            "last_seen_at": "2025-01-01T10:59:59.5Z",
            "ended_at": null,
            "reason": "heartbeat was given up; then ended without a word",
            "health": "unhealthy",
            "events": [{
                "at": "2025-01-01T10:59:58Z", "actor": "heartbeat", "generation": 6,
                "kind": "failed", "message": "more than 5 restarts within 30 s",
            }],
            "steps": [],
        })),
        lifecycle: Course {
            phase: "serving",
            age_seconds: 3600.5,
            left_seconds: None,
            steps: Vec::new(),
        },
    }
}

fn spec() -> SupervisorSpec {
    let (heartbeat, _) = ChildSpec::actor("heartbeat", |_| Calm);
    let (loader, _) = ChildSpec::actor("model_loader", |birth| Reader {
        stumbles: birth.generation.get() == 1,
    });
    let (metrics, _) = ChildSpec::actor("metrics", |_| Calm);
    SupervisorSpec::new("root")
        .child(
            heartbeat
                .significance(Significance::Significant)
                .tick(SECOND),
        )
        .child(
            loader
                .significance(Significance::Significant)
                .tick(SECOND)
                .capacity(8),
        )
        .child(metrics.listed_under("model_loader"))
}

/// Nothing happens to it.
struct Calm;

/// Panics in its first life, and in the next one reads something large.
struct Reader {
    stumbles: bool,
}

enum Nothing {}

impl Message for Nothing {}

impl Actor for Calm {
    type Msg = Nothing;

    async fn handle(&mut self, _: Nothing, _: &mut Context<Self>) -> Result<(), ActorError> {
        Ok(())
    }
}

impl Actor for Reader {
    type Msg = Nothing;

    async fn handle(&mut self, _: Nothing, _: &mut Context<Self>) -> Result<(), ActorError> {
        Ok(())
    }

    async fn tick(&mut self, ctx: &mut Context<Self>) -> Result<(), ActorError> {
        assert!(!self.stumbles, "index out of bounds");
        ctx.progress("look at the model folder", 30 * SECOND);
        ctx.clock().sleep(10 * SECOND).await;
        Ok(())
    }

    fn status(&self) -> StatusReport {
        StatusReport {
            score: 70,
            note: Some("one model is loading".to_owned()),
            details: BTreeMap::from([("models".to_owned(), "2".to_owned())]),
        }
    }
}
