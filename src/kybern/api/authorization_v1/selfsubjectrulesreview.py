"""SelfSubjectRulesReview: what may I do in a namespace? Answered, never kept."""

from kybern.machinery.kind import Kind

KIND = Kind(
    group="authorization.k8s.io",
    version="v1",
    kind="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    namespaced=False,
    schema="io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    singular="selfsubjectrulesreview",
    verbs=("create",),
)
