//! An API server that is a mock: what `kubectl` needs in order to read a command to its end.
//!
//! It knows the kinds that the manifests and pages use, one pod, and any object whose name stands in
//! the manifests; another name is not found. What is sent to it is accepted and forgotten. So a
//! command that passes has a verb, kind, name and flags that exist and files that can be read; what
//! a cluster would do with it is not shown. Nothing is streamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::repo;

mod objects;

use objects::{KINDS, Kind};

/// The pod.
pub const POD: &str = "impetus-llm-server-0";

/// What the stand-in for `kubectl` looks for.
const NO_STREAM: &str = "a stream is not for the mock";

/// A running mock; dropping it ends it.
pub struct Cluster {
    handle: ServerHandle,
    log: Arc<Mutex<String>>,
    folder: TempDir,
}

/// What every answer is made from.
#[derive(Clone)]
struct State {
    names: Arc<Vec<String>>,
    log: Arc<Mutex<String>>,
}

/// A path below `/api` or `/apis`, taken apart.
#[derive(Debug)]
struct Wanted {
    kind: &'static Kind,
    namespace: String,
    name: Option<String>,
    /// What of it: `log`, `exec`, `scale`.
    part: Option<String>,
}

// === impl Cluster ===

impl Cluster {
    pub fn start() -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        let state = State {
            names: Arc::new(names_in(&repo().join("k8s"))),
            log: Arc::clone(&log),
        };
        let (tell, told) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(web::Data::new(state.clone()))
                        .default_service(web::to(answer))
                };
                let server = HttpServer::new(app)
                    .workers(1)
                    .disable_signals()
                    .bind(("127.0.0.1", 0))
                    .unwrap();
                let port = server.addrs()[0].port();
                let server = server.run();
                tell.send((server.handle(), port)).unwrap();
                server.await.unwrap();
            });
        });
        let (handle, port) = told.recv().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), config(port)).unwrap();
        Self {
            handle,
            log,
            folder,
        }
    }

    /// Sets what `kubectl logs` shows.
    pub fn has_logged(&self, text: &str) {
        text.clone_into(&mut self.log.lock().unwrap());
    }

    /// Returns the file that tells `kubectl` where the mock is.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Told so at once; its thread goes when it has heard it.
        drop(self.handle.stop(false));
    }
}

fn config(port: u16) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "mock",
        "clusters": [{"name": "mock", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "contexts": [{"name": "mock", "context": {"cluster": "mock", "user": "mock"}}],
        "users": [{"name": "mock", "user": {}}],
    });
    config.to_string()
}

/// Returns every name that an object has in the manifests.
fn names_in(folder: &Path) -> Vec<String> {
    let mut names = vec![POD.to_owned(), "node".to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(names_in(&path));
        } else if path.extension().is_some_and(|kind| kind == "yaml") {
            let text = fs::read_to_string(path).unwrap();
            let found = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("name: "));
            names.extend(found.map(|name| name.trim_matches('"').to_owned()));
        }
    }
    names
}

// === answers ===

async fn answer(request: HttpRequest, state: web::Data<State>, body: web::Payload) -> HttpResponse {
    let path = request.path().trim_end_matches('/').to_owned();
    if let Some(known) = objects::discovery(&path) {
        return HttpResponse::Ok().json(known);
    }
    let Some(wanted) = Wanted::read(&path) else {
        return not_found(&format!("the mock has nothing at {path}"));
    };
    if request.query_string().contains("watch=") {
        return watch();
    }
    if matches!(
        wanted.part.as_deref(),
        Some("exec" | "portforward" | "attach")
    ) {
        return refuse(StatusCode::FORBIDDEN, "Forbidden", NO_STREAM);
    }
    if wanted.part.as_deref() == Some("log") {
        return HttpResponse::Ok().body(state.log.lock().unwrap().clone());
    }
    let is_table = request
        .headers()
        .get("accept")
        .is_some_and(|accept| accept.to_str().unwrap_or_default().contains("as=Table"));
    match *request.method() {
        Method::GET => get(&state, &wanted, is_table),
        Method::DELETE => HttpResponse::Ok().json(json!({
            "apiVersion": "v1", "kind": "Status", "status": "Success",
        })),
        // A merge patch has no kind; what is answered is the object that it is for.
        Method::PATCH => HttpResponse::Ok().json(wanted.object()),
        _ => accept(wanted.object(), body).await,
    }
}

fn get(state: &State, wanted: &Wanted, is_table: bool) -> HttpResponse {
    let Some(name) = &wanted.name else {
        let list = if is_table {
            wanted.kind.table()
        } else {
            wanted.kind.list(&wanted.namespace)
        };
        return HttpResponse::Ok().json(list);
    };
    // The first pod of a set has the name of the set and a number.
    let of_a_set = name.trim_end_matches("-0");
    if !state
        .names
        .iter()
        .any(|known| known == name || known == of_a_set)
    {
        return not_found(&format!("{} {name:?} not found", wanted.kind.plural));
    }
    HttpResponse::Ok().json(wanted.object())
}

/// Answers as if what was sent were there now.
async fn accept(object: Value, body: web::Payload) -> HttpResponse {
    let body = body.to_bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Value>(&body) {
        Ok(sent) => HttpResponse::Created().json(sent),
        // Some are sent in the API's binary form.
        Err(_) => HttpResponse::Created().json(object),
    }
}

/// Says nothing, for as long as somebody listens.
fn watch() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .streaming(stream::pending::<Result<web::Bytes, actix_web::Error>>())
}

fn not_found(message: &str) -> HttpResponse {
    refuse(StatusCode::NOT_FOUND, "NotFound", message)
}

fn refuse(status: StatusCode, reason: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": message, "code": status.as_u16(),
    }))
}

// === impl Wanted ===

impl Wanted {
    /// Reads `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL[/NAME[/PART]]`.
    fn read(path: &str) -> Option<Self> {
        let mut words = path.trim_start_matches('/').split('/').peekable();
        let api = match words.next()? {
            "api" => words.next()?.to_owned(),
            "apis" => format!("{}/{}", words.next()?, words.next()?),
            _ => return None,
        };
        let mut words: Vec<&str> = words.collect();
        let mut namespace = "";
        if words.len() > 2 && words[0] == "namespaces" {
            namespace = words[1];
            words.drain(..2);
        }
        let plural = *words.first()?;
        let of = |index: usize| words.get(index).map(|word| (*word).to_owned());
        Some(Self {
            kind: KINDS
                .iter()
                .find(|kind| kind.api == api && kind.plural == plural)?,
            namespace: namespace.to_owned(),
            name: of(1),
            part: of(2),
        })
    }

    fn object(&self) -> Value {
        let name = self.name.as_deref().unwrap_or(POD);
        self.kind.object(&self.namespace, name)
    }
}
