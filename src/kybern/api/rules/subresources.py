"""Paths below objects that many kinds have."""

from kybern.machinery.kind import Subresource


def status(kind: str, group: str = "", version: str = "v1") -> Subresource:
    return Subresource("status", kind, group, version)


SCALE = Subresource("scale", "Scale", "autoscaling", "v1")
