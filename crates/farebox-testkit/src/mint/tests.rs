mod client;
mod coins;
mod faults;
mod payments;
