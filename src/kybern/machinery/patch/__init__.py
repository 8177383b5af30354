"""Patches: JSON patch, merge patch, strategic merge. Pure: each returns a new value and leaves its arguments alone.

An answer that is no object, and whether it still fits the kind, is found out by decoding it; here only the patch itself
can be wrong. The classes and texts of errors are those that upstream's API server answers.
"""

from kybern.machinery.patch import strategic
from kybern.machinery.patch.json import json_patch
from kybern.machinery.patch.merge import merge_patch

__all__ = ["json_patch", "merge_patch", "strategic"]
