//! From what was written to what will run: the configuration file, its mistakes, and the one
//! fallible step to a plan. [`import`] reads other paywalls' files. Nothing is run here: nobody is
//! called, no port is bound, no store is opened.

pub mod build;
pub mod choice;
mod document;
pub mod file;
pub mod import;
mod key;
pub mod known_keys;
pub mod load;
pub mod mistake;
mod parts;
pub mod schema;
pub mod secrets;
mod section;
pub mod show;
pub mod units;
