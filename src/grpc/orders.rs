//! Loading and unloading models by call, and what lies in the model folder.
//!
//! Without credentials it is the place a call comes from that allows it, as over HTTP.

use impetus_actors::model_loader::{ModelControl, OrderError};
use tonic::{Request, Status};

use super::call::Call;
use super::proto::model_repository_parameter::ParameterChoice;
use super::proto::repository_index_response::ModelIndex;
use super::proto::{
    RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use super::service::call_of;
use crate::http::AppState;
use crate::oip::{Refusal, describe, order};

/// Lists what lies in the model folder, loaded or not.
pub(super) async fn index(
    state: &AppState,
    request: RepositoryIndexRequest,
) -> Result<Vec<ModelIndex>, Status> {
    only_repository(&request.repository_name)?;
    let models = describe::repository_index(control(state)?, request.ready).await;
    let models = models.map_err(refused)?;
    Ok(models.into_iter().map(ModelIndex::from).collect())
}

/// Loads a model as it lies in the folder now.
pub(super) async fn load(
    state: &AppState,
    request: Request<RepositoryModelLoadRequest>,
) -> Result<(), Status> {
    let control = allowed(state, &*call_of(request.extensions())?)?;
    let order = request.into_inner();
    only_repository(&order.repository_name)?;
    let given = match config_in(&order)? {
        Some(config) => {
            let models = &state.config.models.dir;
            Some(order::given(models, &order.model_name, config).await?)
        }
        None => None,
    };
    let within = state.config.models.control_timeout.get();
    let loaded = control.load(&order.model_name, given, within).await;
    loaded.map(|_| ()).map_err(refused)
}

/// Returns the configuration that came with an order.
fn config_in(order: &RepositoryModelLoadRequest) -> Result<Option<&str>, Refusal> {
    let mut config = None;
    for (name, value) in &order.parameters {
        match &value.parameter_choice {
            Some(ParameterChoice::StringParam(text)) if name == order::CONFIG => {
                config = Some(text.as_str());
            }
            _ => return Err(order::unknown(name)),
        }
    }
    Ok(config)
}

/// Takes a model out of service.
pub(super) async fn unload(
    state: &AppState,
    request: Request<RepositoryModelUnloadRequest>,
) -> Result<(), Status> {
    let control = allowed(state, &*call_of(request.extensions())?)?;
    let order = request.into_inner();
    only_repository(&order.repository_name)?;
    let within = state.config.models.control_timeout.get();
    let unloaded = control.unload(&order.model_name, within).await;
    unloaded.map_err(refused)
}

fn control(state: &AppState) -> Result<&ModelControl, Status> {
    let none = || Status::unimplemented("this process serves no models");
    state.control.as_ref().ok_or_else(none)
}

/// Returns the hand that loads and unloads models, if this call may use it.
fn allowed<'a>(state: &'a AppState, call: &Call) -> Result<&'a ModelControl, Status> {
    if !call.is_local && !state.config.models.anyone_controls() {
        let message = "models can be loaded and unloaded (models.control) from this machine only";
        return Err(Status::permission_denied(message));
    }
    control(state)
}

fn only_repository(name: &str) -> Result<(), Status> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Status::unimplemented(format!(
        "there is one model repository here, and it has no name; {name:?} was asked for"
    )))
}

fn refused(error: OrderError) -> Status {
    let message = error.to_string();
    match error {
        OrderError::NotThere { .. } => Status::not_found(message),
        OrderError::NotLoaded { .. } => Status::failed_precondition(message),
        OrderError::NotYet { .. } => Status::deadline_exceeded(message),
        OrderError::Source(_) | OrderError::NotHere { .. } | OrderError::NotNow(_) => {
            Status::unavailable(message)
        }
    }
}

impl From<describe::IndexEntry> for ModelIndex {
    fn from(entry: describe::IndexEntry) -> Self {
        Self {
            name: entry.name,
            version: entry.version,
            state: entry.state.as_str().to_owned(),
            reason: entry.reason,
        }
    }
}
