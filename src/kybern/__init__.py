"""Kybern: Kubernetes whose every daemon is Python, on machines that it makes itself."""
