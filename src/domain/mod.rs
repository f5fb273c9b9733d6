//! domain: see the module's parts.
