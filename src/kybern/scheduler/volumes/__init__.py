"""Volumes that are chosen together with the node of their pod, and what it takes until they are there.

    claims      which of a pod's claims have their volume, which wait for its node, and what keeps it from every node
    supply      which volumes a claim may take, and what a class can have made, whatever the node
    places      where volumes can be used, over all nodes at once
    choice      what the pod's claims get on one node, or why they get nothing there
    everywhere  the same answer over all nodes at once
    assuming    the choice, shown to the decisions to come before it is written
    writing     the choice, written and waited for

The rules are upstream's (plugins/volumebinding: binder.go).
"""
