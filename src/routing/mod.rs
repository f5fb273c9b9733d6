//! routing: see the module's parts.
