//! Models from where teams keep them.
//!
//! A [`Location`] says where a model is; a [`Remote`] is what can be listed and read there.
//! Nothing here is alive: who asks when, and what becomes of the answer, is decided by those who
//! call. Every call that waits has a deadline of its own, and everything that is read is bounded.

pub mod cache;
pub mod fetch;
pub mod location;
pub mod mlflow;
pub mod mlmodel;
pub mod remote;
pub mod store;
pub mod webhook;

pub use cache::{Cache, CacheError, CacheSettings, Entry, Key, Pin, Staged, Staging};
pub use fetch::{FetchError, FetchLimits, FetchOrder, Manifest, ManifestFile, Progress, fetch};
pub use location::{Location, LocationError, RegistryUri, Selector};
pub use mlflow::{
    ArtifactRoot, Auth, MlflowClient, MlflowSettings, ModelVersion, ProxiedArtifacts,
    RegistryError, Surveyed,
};
pub use mlmodel::{MlModel, MlModelError, SignatureTensor};
pub use remote::{Checksum, Listing, Remote, RemoteError, RemoteFile};
pub use store::{Secret, StoreRule, StoreSettings};
pub use webhook::{Delivery, Event, Headers, Refusal, WebhookVerifier};
