"""The types of autoscaling/v2; the files beside this one hold the rules of its kinds."""

from kybern.api._generated.autoscaling_v2 import *  # noqa: F403  # its __all__ is the list of types
