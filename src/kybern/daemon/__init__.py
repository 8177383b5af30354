"""Process plumbing without any Kubernetes: flags, TLS, logging, signals, health and metrics."""
