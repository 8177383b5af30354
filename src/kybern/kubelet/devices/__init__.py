"""Devices of the node (GPUs and the like): which there are, and to which containers they are given.

plugins (gRPC, ROOT/device-plugins) ─> which devices are there and well ─> node status
ledger (pure) ─> which are given to whom, on disk in ROOT/device-plugins/devices.json
allocation: when a pod comes, its devices are taken and the plugin says what its containers need for them
"""
