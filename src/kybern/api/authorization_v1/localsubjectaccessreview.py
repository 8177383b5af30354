"""LocalSubjectAccessReview: may this user do that in this namespace? Answered, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="authorization.k8s.io",
    version="v1",
    kind="LocalSubjectAccessReview",
    plural="localsubjectaccessreviews",
    namespaced=True,
    schema="io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    singular="localsubjectaccessreview",
    verbs=("create",),
)
