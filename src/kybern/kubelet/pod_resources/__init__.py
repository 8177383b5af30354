"""What pods have of the node, for programs on it (ROOT/pod-resources/kubelet.sock, the PodResourcesLister of v1).

told (pure): who has which CPUs, memory, devices and devices of claims, in the wire's messages
serving:     the socket, how often it may be asked, and how often it was
"""
