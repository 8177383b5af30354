"""What storage drivers (CSI) of ours have in common: the sockets by which a kubelet knows and asks them."""
