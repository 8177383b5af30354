"""Devices of claims (DRA): drivers make them usable on this node before a pod starts, and take them back after its end.

claims (pure): which claims a pod uses, whether it may, and what of them a container sees
driver:   one driver, by gRPC on its socket
drivers:  those that registered (type DRAPlugin); the slices of one that went are removed
health (pure): what drivers tell of their devices, and what of that stands in a pod's status
watching: hearing of it from the drivers
preparing: what is prepared for whom, on disk in ROOT/dra_manager_state
"""
