"""Giving up pods so that the node lives: what is short, since when, who goes first, and in which words.

    measure ─> signals.observed ─> outlook.look ─┬─> conditions of the node (MemoryPressure, DiskPressure, PIDPressure)
                                                 └─> due thresholds ─> images and dead containers, then ranking ─> one pod
    measure ─> storage.exceeded ─> pods beyond their own limits of the disk

All of it decides and is pure, but ``evictor``, the one loop. What a pod is told, and the order in which pods go, is
upstream's (pkg/kubelet/eviction).
"""
