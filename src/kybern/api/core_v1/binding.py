"""Binding: the answer of a scheduler, a pod and the node it goes to; taken, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="",
    version="v1",
    kind="Binding",
    plural="bindings",
    namespaced=True,
    schema="io.k8s.api.core.v1.Binding",
    singular="binding",
    verbs=("create",),
)
