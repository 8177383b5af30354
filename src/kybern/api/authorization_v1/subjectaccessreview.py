"""SubjectAccessReview: may this user do that? Answered, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="authorization.k8s.io",
    version="v1",
    kind="SubjectAccessReview",
    plural="subjectaccessreviews",
    namespaced=False,
    schema="io.k8s.api.authorization.v1.SubjectAccessReview",
    singular="subjectaccessreview",
    verbs=("create",),
)
