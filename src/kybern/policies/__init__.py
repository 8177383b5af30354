"""Network policies on one node: who may talk to its pods, and to whom they may talk, as rules of nftables."""
