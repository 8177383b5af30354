"""Machines made with libvirt, and the topologies that describe them."""
