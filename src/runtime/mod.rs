//! What every component needs to run: tasks, drain, back-off, rates, the clock.
//!
//! Tasks start through [`spawn()`] only, so that each has a name and drain can
//! wait for it. Nothing here knows what Rowcast does.

pub mod backoff;
pub mod clock;
pub mod drain;
pub mod rate;
pub mod shards;
mod spawn;
pub mod turn;

pub use self::{
    drain::{Drain, Stages},
    spawn::spawn,
};
