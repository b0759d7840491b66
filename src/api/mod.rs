//! HTTP: what operators, Prometheus and other programs ask of a running edge.
//!
//! [`server`] takes connections and checks the token; [`routes`] is the one list of what is served, from which
//! [`openapi`] makes the description; the handlers are in [`status`], [`nodes`], [`calls`], [`registrations`], [`realtime`],
//! [`events`] and [`config`].

pub mod agi;
pub mod calls;
pub mod config;
pub mod events;
pub mod nodes;
pub mod openapi;
pub mod realtime;
pub mod registrations;
pub mod reply;
pub mod routes;
pub mod server;
pub mod status;
