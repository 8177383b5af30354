"""Volumes of a node's own disk: a storage driver (CSI) that makes a directory for each claim (docs/adr/0020).

    watches ─> loop ──wishes (pure)──> store (directories, quota) ─> PersistentVolume, claim, events
    store ─> capacity ─> CSIStorageCapacity, by which the scheduler chooses nodes that have room
    kubelet ─> plugin (Identity, Node, registration) ─> binds of the store's directories

    ROOT/pvc-UID/{volume.json,data/}     one volume: what it is, and what pods see
    ROOT/.new-*, ROOT/.gone-*            one that is being made or removed; a daemon that starts finishes the removal

One daemon runs on each node, serves that node only, and may change nothing that is another node's.
"""
