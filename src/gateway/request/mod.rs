//! Requests, from the head to the end of the response.

pub mod authorization;
pub mod context;
pub mod h2_executor;
pub mod problem;
pub mod problem_response;
pub mod response_body;
pub mod service;
pub mod stall_watch;
pub mod tunnel;
pub mod well_known;
