"""Keeping what a container uses near each other: CPUs and devices of the same NUMA nodes (topologyManagerPolicy).

hints (pure): from which nodes a container's CPUs, or devices of one kind, could come
merge (pure): the nodes that suit all of them, by the policy
allot (pure): a pod's CPUs and devices, container by container
alignment:    the same with what is free now, kept on disk before anything of the pod runs
"""
