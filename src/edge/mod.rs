//! The shell: threads, sockets, clocks, and the one writer of the farm.
//!
//! - [`start`]: from a configuration to an edge that runs; read this first
//! - [`engine`]: what all threads share, and the [`World`](crate::proxy::World) of the core
//! - [`worker`]: plain threads that carry UDP in batches
//! - [`hands`]: one thread's memory, and carrying out what the core wants
//! - [`pressure`]: whether more comes than can be carried
//! - [`ticker`]: the thread on which time passes
//! - [`prober`]: OPTIONS to every node, and the verdicts
//! - [`reconciler`]: calls compared with the channels that nodes have
//! - [`farm_writer`]: reloads, operators' words and DNS answers become the next farm
//! - [`cluster`]: one of several edges
//! - [`events`]: what happens, for whoever watches
//! - [`view`]: what operators can look at

pub mod ari;
pub mod clock;
pub mod cluster;
pub mod complaints;
pub mod ended;
pub mod engine;
pub mod events;
pub mod farm_writer;
pub mod hands;
pub mod keeper;
pub mod listeners;
pub mod located;
pub mod pressure;
pub mod prober;
pub mod publisher;
pub mod reconciler;
pub mod registrations;
pub mod secret;
pub mod start;
pub mod ticker;
pub mod view;
pub mod worker;
