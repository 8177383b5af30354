"""Where objects are kept: the Store protocol, etcd, its twin in memory, and the watch cache."""
