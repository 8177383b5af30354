"""Memory of NUMA nodes for the containers of guaranteed pods (memoryManagerPolicy Static, KEP-1769).

ledger (pure):     from which nodes a container's memory comes, and what of each node is left
checkpoint:        who has what, in upstream's file ROOT/memory_manager_state
reservation (pure): what reservedMemory keeps of each node, and whether that is what the node keeps altogether
holding:           all of the node's: given, on disk, told to containers (cpuset.mems), taken back
"""
