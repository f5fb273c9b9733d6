//! Compiled audiences.
