"""CPUs of their own for containers (cpuManagerPolicy static): who gets which (``ledger``), and seeing to it (``pinning``).

Containers of guaranteed pods that ask for whole CPUs get these for themselves; all others share the rest, with the node's
own daemons. What is reserved (reservedSystemCPUs, or as many as kubeReserved and systemReserved say) is never given away.
"""
