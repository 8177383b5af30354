"""The types of discovery/v1; the files beside this one hold the rules of its kinds."""

from kybern.api._generated.discovery_v1 import *  # noqa: F403  # its __all__ is the list of types
