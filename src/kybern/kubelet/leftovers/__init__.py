"""What a runtime that was killed, or whose caller was killed, leaves behind and does not find again by itself.

removal    containers that containerd refuses to remove, because of a task that its CRI does not know of
plan       which network namespaces and addresses belong to no sandbox any more; pure
network    looks for them, and gives them back
cni        takes an address back by the plugins that gave it
"""
