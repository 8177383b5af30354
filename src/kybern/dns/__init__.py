"""Cluster DNS: names of services, endpoints and pods, and a cache in front of other name servers."""
