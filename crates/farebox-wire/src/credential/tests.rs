//! Named behaviours.
