//! The health plane's own thread: its clock, and its port.
//!
//! It shares nothing with the request workers but the answers. It evaluates health every ten
//! seconds whether or not anybody asks, and answers on `health.port` also when every request
//! worker is blocked.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use actix_web::dev::Server;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use super::HealthPlane;

/// How often the gates are turned; the window they judge has buckets of one second.
const GATES_EVERY: Duration = Duration::from_secs(1);

/// What the thread does.
pub struct HealthThread {
    /// What is evaluated.
    pub plane: Arc<HealthPlane>,
    /// How often.
    pub evaluate_every: Duration,
    /// What else happens at each evaluation: the record of the run is brought up to date.
    pub after_each: Box<dyn Fn() + Send>,
    /// Makes the server of the health port; `None` when there is no port.
    pub serve: Option<ServeOn>,
}

/// Makes a server on a socket that listens already.
pub type ServeOn = Box<dyn FnOnce() -> io::Result<Server> + Send>;

/// Binds the health port.
///
/// # Errors
/// The address is taken or not this machine's.
pub fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((host, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

// === impl HealthThread ===

impl HealthThread {
    /// Starts the thread and returns once it answers. It runs until the process ends.
    ///
    /// # Errors
    /// The operating system has no thread left, or the server could not be made.
    pub fn start(self) -> io::Result<()> {
        let (ready, is_ready) = sync_channel(1);
        std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || {
                let system = actix_web::rt::System::new();
                system.block_on(async move {
                    let server = match self.serve.map(|serve| serve()).transpose() {
                        Ok(server) => server,
                        Err(failed) => {
                            let _ = ready.send(Err(failed));
                            return;
                        }
                    };
                    let running = server.map(actix_web::rt::spawn);
                    let _ = ready.send(Ok(()));
                    run(self.plane, self.evaluate_every, self.after_each).await;
                    drop(running);
                });
            })?;
        is_ready
            .recv_timeout(Duration::from_secs(10))
            .map_err(|_| io::Error::other("the health thread did not come up"))?
    }
}

async fn run(plane: Arc<HealthPlane>, evaluate_every: Duration, after_each: Box<dyn Fn() + Send>) {
    let gates = {
        let plane = Arc::clone(&plane);
        actix_web::rt::spawn(async move {
            let mut tick = interval(GATES_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tick.tick().await;
                plane.turn_gates();
            }
        })
    };
    let mut tick = interval(evaluate_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // The first tick comes at once, when nothing has been loaded yet: nothing is judged by it.
    tick.tick().await;
    loop {
        tick.tick().await;
        plane.evaluate();
        after_each();
        if gates.is_finished() {
            error!("the clock of the error-rate gates has stopped");
        }
    }
}
