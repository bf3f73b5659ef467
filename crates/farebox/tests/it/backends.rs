//! Nodes behind the gateway: away and back, several of them, and what the operator is told. The
//! node is `node`, a stand-in that speaks LND's REST API from the test's own process, so that it
//! outlives every restart of the gateway.

mod away;
mod check;
mod doctor;
mod node;
mod settlements;
