//! The engine against a mint that fails as it is told.

#[cfg(test)]
mod looks;
#[cfg(test)]
mod purse;
#[cfg(test)]
mod swaps;
#[cfg(test)]
mod vectors;
