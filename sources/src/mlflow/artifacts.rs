//! Where the files of a version are.

use reqwest::Url;

use super::error::RegistryError;
use super::http;
use super::proxy::ProxiedArtifacts;
use super::wire::DownloadAnswer;
use super::{MlflowClient, ModelVersion};
use crate::location::{RegistryUri, Selector};
use crate::remote::RemoteFile;

/// The place of a version's files.
#[derive(Debug, Clone)]
pub enum ArtifactRoot {
    /// The registry hands them out itself.
    Proxied(Box<ProxiedArtifacts>),
    /// They are in a store that is to be asked directly: `s3://…`, `gs://…`, `wasbs://…`, `abfss://…`,
    /// `http://…` or `https://…`, as the registry writes it.
    Store(String),
}

const PROXY: &str = "mlflow-artifacts:";
const PROXY_PATH: &str = "/api/2.0/mlflow-artifacts/artifacts/";
const STORES: [&str; 9] = [
    "s3", "gs", "wasb", "wasbs", "abfs", "abfss", "az", "http", "https",
];

// === impl MlflowClient ===

impl MlflowClient {
    /// Returns where the files of a version are; one call.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unreadable`] when they are where only the registry's own machine can read
    /// them, or in a kind of store that is not known; otherwise as [`MlflowClient::resolve`].
    pub async fn artifacts(&self, version: &ModelVersion) -> Result<ArtifactRoot, RegistryError> {
        let number = version.version.to_string();
        let query = [("name", version.name.as_str()), ("version", &number)];
        let answer = self
            .http
            .ask("mlflow/model-versions/get-download-uri", &query)
            .await;
        let answer: DownloadAnswer = answer.map_err(|error| {
            let uri = RegistryUri {
                name: version.name.clone(),
                selector: Selector::Version(version.version),
            };
            self.missing(&uri, error)
        })?;
        let address = answer.artifact_uri.trim();
        self.root(address).map_err(|why| RegistryError::Unreadable {
            name: version.name.clone(),
            version: version.version,
            place: shown(address),
            why,
        })
    }

    fn root(&self, address: &str) -> Result<ArtifactRoot, String> {
        if let Some(rest) = address.strip_prefix(PROXY) {
            return self.proxied(rest);
        }
        let scheme = address.split_once("://").map(|(scheme, _)| scheme);
        match scheme.or_else(|| address.starts_with("file:").then_some("file")) {
            None | Some("file") => Err("that is a folder on the registry's own machine; start MLflow with --serve-artifacts and --artifacts-destination, so that it hands files out itself, or with an object store as --default-artifact-root, and register the version anew".to_owned()),
            Some("http" | "https") => match self.below_proxy(address) {
                Some(path) => self.proxy(&path),
                None => Ok(ArtifactRoot::Store(address.to_owned())),
            },
            Some(scheme) if STORES.contains(&scheme) => Ok(ArtifactRoot::Store(address.to_owned())),
            Some(scheme) => Err(format!(
                "{:?} is not a kind of store that can be read here; let MLflow hand the files out itself (--serve-artifacts)",
                http::short(scheme)
            )),
        }
    }

    /// Reads what follows `mlflow-artifacts:`, which may name a host. It has to be the registry's:
    /// the credentials are for that one.
    fn proxied(&self, rest: &str) -> Result<ArtifactRoot, String> {
        let Some(rest) = rest.strip_prefix("//") else {
            return self.proxy(rest);
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let base = self.http.base();
        let own = base.host_str().unwrap_or_default();
        let is_own = match base.port_or_known_default() {
            Some(port) => host == own || host == format!("{own}:{port}"),
            None => host == own,
        };
        if !host.is_empty() && !is_own {
            return Err(format!(
                "another MLflow server hands them out ({}), which has not been told to be trusted with this one's credentials; name that server as the registry, if it is",
                http::short(host)
            ));
        }
        self.proxy(path)
    }

    /// Returns the path below the registry's own proxy that an address means, if it is one.
    fn below_proxy(&self, address: &str) -> Option<String> {
        let url = Url::parse(address).ok()?;
        let prefix = self.http.base().path().trim_end_matches('/');
        let below = url.path().strip_prefix(prefix)?.strip_prefix(PROXY_PATH)?;
        (url.origin() == self.http.base().origin() && !below.contains('%'))
            .then(|| below.to_owned())
    }

    fn proxy(&self, path: &str) -> Result<ArtifactRoot, String> {
        let path = path.trim_matches('/');
        if !RemoteFile::is_safe(path) {
            return Err("the path has parts that no folder of artifacts has".to_owned());
        }
        let proxied = ProxiedArtifacts::new(self.http.clone(), path);
        Ok(ArtifactRoot::Proxied(Box::new(proxied)))
    }
}

/// Returns an address as it may be shown: whatever stands in front of a host may be a password, and
/// whatever follows a path a signature.
fn shown(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else {
        return http::short(address);
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    http::short(&format!("{scheme}://{host}/{path}"))
}
