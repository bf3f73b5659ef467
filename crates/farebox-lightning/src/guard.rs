//! Calling out over HTTP without being turned against the own network.
