"""The machine is about to go down: end its pods in order, while logind waits (KEP-2000, KEP-2712).

wire (pure): D-Bus messages and bytes
bus:         a connection to the system's bus
logind:      the lock that delays a shutdown, and word of one
groups (pure): which pods end together, and how long they may take
shutdown:    all of it, for as long as the kubelet runs
"""
