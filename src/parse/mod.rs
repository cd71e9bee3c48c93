//! Bytes to columns: a record becomes a row or a reject, and nothing else in its batch is touched.
