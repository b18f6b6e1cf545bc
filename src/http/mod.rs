//! (laws to be written)
