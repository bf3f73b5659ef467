//! What the tasks and the tests of the project's own shape have in common.

pub mod shape;
