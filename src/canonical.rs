//! Our own encoding of values as bytes: what is routed, ordered or compared across processes and restarts.
