//! cli: see the module's parts.
