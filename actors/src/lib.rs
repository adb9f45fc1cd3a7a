//! Everything in Impetus that is alive: its actors, the serving path, the prediction log.
//!
//! Actors decide, tasks carry. An actor here owns a life cycle (a worker process, a database
//! connection, the set of models) and is supervised by `impetus-supervision`; requests go past the
//! actors, through [`serving`], and never wait in a mailbox.

pub mod archive;
pub mod db_writer;
pub mod downloader;
pub mod drift_watch;
pub mod forwarder;
pub mod heartbeat;
pub mod histogram;
pub mod metrics;
pub mod model_loader;
pub mod orphans;
pub mod outcomes;
pub mod predlog;
pub mod registry;
pub mod serving;
pub mod sliding;
pub mod sources;
