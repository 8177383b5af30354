"""Values encrypted at rest: what lies in etcd is of no use without the keys that the API servers hold."""
