"""CPUs of their own for containers (cpuManagerPolicy static): who gets which, and seeing to it (``pinning``).

Containers of guaranteed pods that ask for whole CPUs get these for themselves; all others share the rest, with the node's
own daemons. What is reserved (reservedSystemCPUs, or as many as kubeReserved and systemReserved say) is never given away.
cpuManagerPolicyOptions (``options``) say how CPUs are chosen (``assignment``), and who must not be on one core (``ledger``).
"""
