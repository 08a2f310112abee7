//! The binary end to end, in temporary directories. One test binary, as each one links all of polars.

mod bad_input;
mod charts;
mod compare;
mod doorbell;
mod doorbell_charts;
mod experiment;
mod gate;
mod history;
mod many_runs;
mod matrix;
mod modes;
mod report;
mod scene;
mod shape;
