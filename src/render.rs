//! Rows as JSON text, the way every sink, dead letter and live read shows them.
