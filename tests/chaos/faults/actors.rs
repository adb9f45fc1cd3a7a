//! Panics in actors.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Healing, Striker};
use crate::harness::find_actor;
use crate::random::Random;
use crate::schedule::{Role, Worker};

impl Striker<'_> {
    /// Orders a panic, which strikes with the next message the actor takes; healed when a later
    /// generation runs and what the actor is there for works.
    pub(super) fn panic(
        &self,
        role: Role,
        worker: Worker,
        random: &mut Random,
    ) -> Result<Healing, String> {
        let name = actor(role, worker);
        let before = self.until_status(&format!("{name} to strike"), |status| {
            let actor = running(status, &name)?;
            actor["generation"].as_u64()
        })?;
        self.order(&name)?;
        let fell = self.until_status(&format!("another {name}"), |status| {
            let actor = running(status, &name)?;
            let is_another = actor["generation"].as_u64()? > before;
            is_another.then(|| fell_at(&actor))?
        })?;
        match role {
            Role::Heartbeat | Role::Metrics => {}
            Role::DbWriter => self.until_log_works(random)?,
            Role::Models | Role::ModelLoader => self.until_every_model_serves(random)?,
            Role::Model | Role::Worker => self.until_model_serves(worker.model, random)?,
        }
        let recovery = now().duration_since(fell).unwrap_or_default();
        Ok(Healing {
            held: Duration::ZERO,
            recovery: Ok(recovery),
            killer: None,
        })
    }

    pub(super) fn order(&self, actor: &str) -> Result<(), String> {
        let order = serde_json::json!({"target": actor, "fault": "panic"});
        let request = self
            .agent
            .post(self.scene.site.server.url("/api/faults"))
            .header("content-type", "application/json");
        let answer = request.send(order.to_string().as_bytes());
        match answer {
            Ok(answer) if answer.status() == 200 => Ok(()),
            Ok(answer) => Err(format!("the order was answered {}", answer.status())),
            Err(error) => Err(format!("the order was not taken: {error}")),
        }
    }
}

fn actor(role: Role, worker: Worker) -> String {
    match role {
        Role::Heartbeat => "heartbeat".to_owned(),
        Role::Metrics => "metrics".to_owned(),
        Role::DbWriter => "db_writer".to_owned(),
        Role::Models => "models".to_owned(),
        Role::ModelLoader => "model_loader".to_owned(),
        Role::Model => format!("model:{}", worker.model),
        Role::Worker => worker.actor(),
    }
}

fn running(status: &Value, name: &str) -> Option<Value> {
    find_actor(&status["actors"], name).filter(|actor| actor["state"] == "running")
}

/// Returns when the incarnation before ended.
fn fell_at(actor: &Value) -> Option<SystemTime> {
    let at = actor["last_exit"]["at"].as_str()?;
    Some(OffsetDateTime::parse(at, &Rfc3339).ok()?.into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with what the server's clock says"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
