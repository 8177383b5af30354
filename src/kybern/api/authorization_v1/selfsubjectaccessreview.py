"""SelfSubjectAccessReview: may I do that? Answered, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="authorization.k8s.io",
    version="v1",
    kind="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    namespaced=False,
    schema="io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    singular="selfsubjectaccessreview",
    verbs=("create",),
)
