"""Services of type LoadBalancer without a cloud: addresses from pools, each announced by one node."""
