"""SelfSubjectReview: who am I? Answered, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="authentication.k8s.io",
    version="v1",
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    namespaced=False,
    schema="io.k8s.api.authentication.v1.SelfSubjectReview",
    singular="selfsubjectreview",
    verbs=("create",),
)
