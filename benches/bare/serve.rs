//! The obvious server.

use std::cell::RefCell;

use actix_web::{App, HttpResponse, HttpServer, web};

use super::answer::Answer;
use super::{ApiError, ServeArgs, model, numbers};

/// Longest body; the server's own default.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A model that belongs to one HTTP worker.
type Own = web::Data<RefCell<model::Model>>;

/// Serves until it is killed.
pub(super) fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let environment = model::start_runtime(&args.model.library)?;
    // Tried once here, where an error can be told; a worker's factory can only panic.
    model::Model::open(&environment, &args.model.model)?;
    let folder = args.model.model;
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            let own = model::Model::open(&environment, &folder).expect("it was opened before");
            App::new()
                .app_data(Own::new(RefCell::new(own)))
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .route("/predict", web::post().to(predict))
                .route("/ready", web::get().to(HttpResponse::Ok))
        });
        server
            .workers(args.workers)
            .bind(("127.0.0.1", args.port))?
            .run()
            .await
    })?;
    Ok(())
}

async fn predict(own: Own, body: web::Bytes) -> Result<HttpResponse, ApiError> {
    let numbers = numbers::parse(&body)?;
    // Never borrowed across a wait, and the worker is one thread.
    let mut own = own.borrow_mut();
    if numbers
        .model
        .is_some_and(|name| name != own.description.name)
    {
        return Err(ApiError::bad_request("unknown_model", "there is one model"));
    }
    let (data, _) = numbers.data.as_chunks::<4>();
    let data: Vec<f32> = data.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
    if data.len() != own.numbers() {
        let message = format!("data must have {} numbers", own.numbers());
        return Err(ApiError::bad_request("wrong_length", message));
    }
    let (scores, micros) = own.run(&data).map_err(ApiError::failed)?;
    let answer = Answer::new(&own.description, scores, micros);
    let answer = answer.ok_or_else(|| ApiError::failed("the output is no classification"))?;
    Ok(HttpResponse::Ok().json(answer))
}
