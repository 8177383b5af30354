"""Ingress: haproxy on the nodes, with a configuration made from Ingress objects."""
