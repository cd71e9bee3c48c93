//! Everything around the data path: command line, cluster, metrics, live reads.
