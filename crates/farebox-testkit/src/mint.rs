//! A mint of ecash that fails as it is told.
