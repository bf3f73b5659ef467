//! What a prepaid key is to a request here: who pays for it, and where its money comes from.

mod admit;
mod deposit;

#[cfg(test)]
mod tests;
