"""The agent of a node: runs the pods that are bound to it by way of a CRI runtime, and tells the API server about them.

    API server ──pods──┐                                      ┌─> status (patches), events
    static pod files ──┴─> one Worker a pod ──observe─> plan ─┤
    CRI events, relists ──────^    ^──probe results           └─> act: sandbox, containers, volumes

``plan.py`` decides and ``status.py`` describes; both are pure. A worker observes, plans, acts and looks again, one step
at a time for one pod; nothing else touches its containers. All state that must outlive the process is in the labels and
annotations of the containers themselves, so a restart of the kubelet leaves what runs alone.
"""
