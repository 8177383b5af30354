"""Talking to an API server: REST, kubeconfig, list and watch, caches, events, leases."""
