//! definitions: see the module's parts.
