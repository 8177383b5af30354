"""Pods out of a template, under names that their controller makes; pure."""

import hashlib
from typing import Any

from kybern.api.core_v1 import Pod, PodSpec, PodTemplateSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.owners import controller_reference
from kybern.machinery.struct import replace

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def suffix(owner: Any, round_: str, mark: object) -> str:
    """Five letters that differ from round to round and from mark to mark; a round is told by any text."""
    seed = f"{owner.metadata.uid}/{round_}/{mark}"
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in hashlib.sha256(seed.encode()).digest()[:5])


def pod_of(owner: Any, template: PodTemplateSpec, name: str, generate_name: str = "") -> Pod:
    """A pod of the template that ``owner`` controls."""
    return Pod(
        metadata=ObjectMeta(
            name=name,
            generate_name=generate_name,
            namespace=owner.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=(controller_reference(owner),),
        ),
        spec=template.spec,
    )


def labelled(pod: Pod, **more: Any) -> Pod:
    """The pod with more labels (``labels``) or annotations (``annotations``)."""
    metadata = pod.metadata
    changed = {key: {**getattr(metadata, key), **value} for key, value in more.items()}
    return replace(pod, metadata=replace(metadata, **changed))


def with_spec(pod: Pod, **fields: Any) -> Pod:
    spec: PodSpec = replace(pod.spec, **fields)
    return replace(pod, spec=spec)
