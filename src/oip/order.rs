//! What comes with an order to load a model.
//!
//! As Triton has it: `config` is a configuration in JSON that is used instead of the one in the model
//! folder, until the model is loaded without one. Files of a model do not come with an order: what a
//! worker loads lies in the model folder, where it is looked after.

use std::path::{Component, Path};
use std::time::Duration;

use impetus_actors::model_loader::Given;
use impetus_actors::sources::describe_as;

use super::{Kind, Refusal};

/// The parameter that brings a configuration.
pub const CONFIG: &str = "config";

/// How long it may take to look at what the configuration names in the model's folder.
const WITHIN: Duration = Duration::from_secs(5);

/// Reads the configuration that came with an order to load a model that lies in `models`.
///
/// # Errors
/// It is no configuration, or not one for that model.
pub async fn given(models: &Path, name: &str, config: &str) -> Result<Box<Given>, Refusal> {
    let mut parts = Path::new(name).components();
    if !matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) {
        return Err(Refusal::not_found(format!("there is no model {name:?}")));
    }
    let (folder, text) = (models.join(name), config.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let description = describe_as(&text, &folder)?;
        let text = text.into();
        Ok::<_, String>(Box::new(Given { description, text }))
    });
    match tokio::time::timeout(WITHIN, read).await {
        Ok(Ok(Ok(given))) => Ok(given),
        Ok(Ok(Err(problem))) => Err(Refusal::invalid(format!("parameter \"config\": {problem}"))),
        Ok(Err(panicked)) => Err(Refusal::new(Kind::Failed, panicked.to_string())),
        Err(_) => {
            let message = format!("the folder of model {name:?} did not answer");
            Err(Refusal::new(Kind::Unavailable, message))
        }
    }
}

/// Says that a parameter of an order is not understood.
#[must_use]
pub fn unknown(parameter: &str) -> Refusal {
    Refusal::unsupported(format!(
        "parameter {parameter:?} is not understood: a model is loaded as it lies in the model folder, \
         and {CONFIG:?} replaces its configuration alone"
    ))
}
