"""gRPC calls over one HTTP/2 connection, with no more of both protocols than a client of etcd needs."""
