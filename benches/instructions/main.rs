//! What measuring a request costs, in instructions.
//!
//! Sends requests through an application in memory, without sockets, once with what
//! measures `/predict` and once with a middleware in its place that does nothing, and a handler that
//! finds the model and answers. A tool that counts instructions (`valgrind --tool=callgrind`) says what
//! each run took; everything but the measuring is in both. `docs/benchmarks.md` has the commands.

mod state;

use std::hint::black_box;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderValue;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpMessage, HttpRequest, HttpResponse, rt, test, web};
use anyhow::ensure;
use clap::{Parser, ValueEnum};
use impetus::http::measuring::{About, measure};
use impetus::http::{AppState, Endpoint};
use impetus_actors::histogram::Histogram;

#[derive(Debug, Parser)]
#[command(about = "Does something so many times, for a tool that counts instructions")]
struct Cli {
    /// What is done.
    what: What,
    /// How often.
    #[arg(default_value_t = 10_000)]
    times: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Requests through a middleware that does nothing.
    Bare,
    /// Requests that are measured.
    Measured,
    /// Nothing but a loop.
    Loop,
    /// The same loop, recording into a histogram.
    Histogram,
}

fn main() -> anyhow::Result<()> {
    let Cli { what, times } = Cli::parse();
    match what {
        What::Bare | What::Measured => rt::System::new().block_on(requests(what, times)),
        What::Loop | What::Histogram => durations(what, times),
    }
}

async fn requests(what: What, times: u64) -> anyhow::Result<()> {
    let state = web::Data::new(state::with_one_model()?);
    let resource = web::resource("/predict");
    let request = || test::TestRequest::post().uri("/predict").to_request();
    let app = App::new().app_data(state.clone()).wrap(from_fn(known));
    // Both are middleware of the same kind; what differs is what they do.
    let answered = match what {
        What::Measured => {
            let measured = from_fn(|request, next| measure(Endpoint::Predict, request, next));
            let resource = resource.wrap(measured).to(find_and_note);
            send(
                &test::init_service(app.service(resource)).await,
                request,
                times,
            )
            .await
        }
        _ => {
            let resource = resource.wrap(from_fn(nothing)).to(find);
            send(
                &test::init_service(app.service(resource)).await,
                request,
                times,
            )
            .await
        }
    };
    ensure!(answered == times, "{answered} of {times} were answered");
    Ok(())
}

async fn send<R, B: MessageBody>(
    app: &impl Service<R, Response = ServiceResponse<B>, Error = Error>,
    request: impl Fn() -> R,
    times: u64,
) -> u64 {
    let mut answered = 0;
    for _ in 0..times {
        let answer = test::call_service(app, request()).await;
        answered += u64::from(answer.status() == 200);
    }
    answered
}

/// What every request passes in the server: it gets a record that its handler finds.
async fn known(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let about = About::new(HeaderValue::from_static("id"));
    request.extensions_mut().insert(about);
    next.call(request).await
}

async fn nothing(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    next.call(request).await
}

async fn find(_request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    match state.catalog.route(None, None) {
        Ok(route) => HttpResponse::Ok().body(route.model().spec().version.clone()),
        Err(_) => HttpResponse::NotFound().finish(),
    }
}

async fn find_and_note(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    match state.catalog.route(None, None) {
        Ok(route) => {
            About::is_for(&request, route.model());
            HttpResponse::Ok().body(route.model().spec().version.clone())
        }
        Err(_) => HttpResponse::NotFound().finish(),
    }
}

fn durations(what: What, times: u64) -> anyhow::Result<()> {
    let histogram = Histogram::default();
    for number in 0..times {
        let duration = black_box(Duration::from_micros(number * 7));
        if what == What::Histogram {
            histogram.record(duration);
        }
    }
    let expected = if what == What::Histogram { times } else { 0 };
    ensure!(histogram.snapshot().count() == expected, "a count is wrong");
    Ok(())
}
