"""Pods as far as they matter here: their names and labels. The API server sends no more of them."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from kybern.client.verbs import Partial, PartialMeta


class Labelled(PartialMeta, kw_only=True):
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class PodNames(Partial, kw_only=True):
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Pod"
    plural: ClassVar[str] = "pods"
    namespaced: ClassVar[bool] = True
    metadata: Labelled = Labelled()
