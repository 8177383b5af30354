"""The types of certificates/v1alpha1; the files beside this one hold the rules of its kinds."""

from kybern.api._generated.certificates_v1alpha1 import *  # noqa: F403  # its __all__ is the list of types
