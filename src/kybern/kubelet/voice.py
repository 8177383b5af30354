"""Events of the kubelet, about pods, their containers and the node."""

from collections.abc import Callable, Mapping
from typing import Protocol

from kybern.api.core_v1 import Container, Node, ObjectReference, Pod
from kybern.kubelet.labels import is_static
from kybern.kubelet.parts import kind_of
from kybern.machinery.struct import Object

type Tell = Callable[[Object | ObjectReference, str, str, str], None]
"""Says something of an object: its type (Normal or Warning), reason, and message."""


class Recorder(Protocol):
    """``client.events.Recorder``, or its twin in tests."""

    def emit(
        self,
        about: Object | ObjectReference,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None: ...


class Voice:
    """Says things about pods in upstream's form: those of a container name it in ``fieldPath``."""

    def __init__(self, recorder: Recorder, node: str) -> None:
        self._recorder = recorder
        self._node = node

    def pod(
        self,
        pod: Pod,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self._recorder.emit(_reference(pod), type, reason, message, annotations)

    def container(self, pod: Pod, container: Container, type: str, reason: str, message: str) -> None:  # noqa: A002  # the API's word
        path = f"spec.{kind_of(pod, container.name)}{{{container.name}}}"
        self._recorder.emit(_reference(pod, path), type, reason, message)

    def node(self, type: str, reason: str, message: str) -> None:  # noqa: A002  # the API's word
        about = ObjectReference(kind=Node.kind, api_version="v1", name=self._node, uid=self._node)
        self._recorder.emit(about, type, reason, message)


def _reference(pod: Pod, path: str = "") -> ObjectReference:
    meta = pod.metadata
    return ObjectReference(
        api_version="v1", kind="Pod", name=meta.name, namespace=meta.namespace,
        uid="" if is_static(pod) else meta.uid, resource_version=meta.resource_version, field_path=path,
    )  # fmt: skip
