//! `inference.GRPCInferenceService`: each call, from its message to its answer.

use std::sync::Arc;

use impetus_actors::serving::ServedModel;
use tonic::{Extensions, Request, Response, Status, Streaming, async_trait};

use super::call::Call;
use super::proto::grpc_inference_service_server::GrpcInferenceService;
use super::proto::*;
use super::stream::{self, Answers};
use super::{answer, orders, request};
use crate::http::AppState;
use crate::oip::{self, Refusal, describe};

/// What a call returns.
type Reply<T> = Result<Response<T>, Status>;

/// The service.
#[derive(Clone)]
pub(super) struct Inference {
    pub(super) state: AppState,
}

// === impl Inference ===

impl Inference {
    /// Has a request answered.
    pub(super) async fn infer(
        &self,
        message: ModelInferRequest,
        call: &Call,
    ) -> Result<ModelInferResponse, Refusal> {
        let version = Some(message.model_version.as_str());
        let mut route = oip::route(&self.state.catalog, &message.model_name, version)?;
        call.is_for(route.model());
        let request = request::read(message)?;
        let recorder = self.state.recorder.as_deref();
        let answered = oip::infer(&mut route, request, call.caller(), recorder).await?;
        Ok(answer::write(answered))
    }

    fn find(&self, name: &str, version: &str) -> Result<Arc<ServedModel>, Refusal> {
        describe::find(&self.state.catalog, name, Some(version))
    }

    fn statistics(&self, name: &str, version: &str) -> Result<Vec<ModelStatistics>, Refusal> {
        let catalog = &self.state.catalog;
        let models = match name {
            "" => describe::all(catalog),
            name => describe::find_versions(catalog, name, Some(version))?,
        };
        let statistics = models.iter().map(|model| describe::statistics(model));
        Ok(statistics.map(Into::into).collect())
    }
}

#[async_trait]
impl GrpcInferenceService for Inference {
    type ModelStreamInferStream = Answers;

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Reply<ServerLiveResponse> {
        let live = self.state.plane.live().alive;
        Ok(Response::new(ServerLiveResponse { live }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Reply<ServerReadyResponse> {
        let ready = self.state.plane.is_ready();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Reply<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        // A model that is not there is not ready; its clients ask until it is.
        let found = self.find(&name, &version);
        let ready = found.is_ok_and(|model| model.state().is_usable());
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Reply<ServerMetadataResponse> {
        Ok(Response::new(describe::server().into()))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Reply<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let metadata = describe::metadata(&self.state.catalog, &name, Some(&version))?;
        Ok(Response::new(metadata.into()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Reply<ModelInferResponse> {
        let call = call_of(request.extensions())?;
        let answer = self.infer(request.into_inner(), &call).await?;
        Ok(Response::new(answer))
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Reply<Self::ModelStreamInferStream> {
        let call = call_of(request.extensions())?;
        let answers = stream::answers(self.clone(), request.into_inner(), call);
        Ok(Response::new(answers))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Reply<ModelConfigResponse> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let config = describe::config(&*self.find(&name, &version)?)?;
        let config = Some(config.into());
        Ok(Response::new(ModelConfigResponse { config }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Reply<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let model_stats = self.statistics(&name, &version)?;
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Reply<RepositoryIndexResponse> {
        let models = orders::index(&self.state, request.into_inner()).await?;
        Ok(Response::new(RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Reply<RepositoryModelLoadResponse> {
        orders::load(&self.state, request).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Reply<RepositoryModelUnloadResponse> {
        orders::unload(&self.state, request).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }

    async fn system_shared_memory_status(
        &self,
        _: Request<SystemSharedMemoryStatusRequest>,
    ) -> Reply<SystemSharedMemoryStatusResponse> {
        Err(no_shared_memory())
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Reply<SystemSharedMemoryRegisterResponse> {
        Err(no_shared_memory())
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Reply<SystemSharedMemoryUnregisterResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<CudaSharedMemoryStatusRequest>,
    ) -> Reply<CudaSharedMemoryStatusResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Reply<CudaSharedMemoryRegisterResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Reply<CudaSharedMemoryUnregisterResponse> {
        Err(no_shared_memory())
    }

    async fn trace_setting(&self, _: Request<TraceSettingRequest>) -> Reply<TraceSettingResponse> {
        let message =
            "traces of single requests are not kept here; /metrics and the log have the times";
        Err(Status::unimplemented(message))
    }

    async fn log_settings(&self, _: Request<LogSettingsRequest>) -> Reply<LogSettingsResponse> {
        let message =
            "the log is set by log_level and [log] of the configuration, not while the server runs";
        Err(Status::unimplemented(message))
    }
}

/// Returns what the edge knows of a call.
pub(super) fn call_of(extensions: &Extensions) -> Result<Arc<Call>, Status> {
    let call = extensions.get::<Arc<Call>>().map(Arc::clone);
    call.ok_or_else(|| Status::internal("a call came in by another way than the edge"))
}

fn no_shared_memory() -> Status {
    Status::unimplemented("this server maps no memory of its clients; send tensors in the request")
}
