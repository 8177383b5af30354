"""TokenReview: whose token is this? Answered, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="authentication.k8s.io",
    version="v1",
    kind="TokenReview",
    plural="tokenreviews",
    namespaced=False,
    schema="io.k8s.api.authentication.v1.TokenReview",
    singular="tokenreview",
    verbs=("create",),
)
