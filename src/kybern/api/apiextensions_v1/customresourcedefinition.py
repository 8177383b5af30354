"""CustomResourceDefinition: a kind that users bring."""

from kybern.api.rules.subresources import status
from kybern.api.rules.tables import CREATED
from kybern.machinery.kind import Kind, wish_changed

KIND = Kind(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    schema="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    singular="customresourcedefinition",
    short_names=(
        "crd",
        "crds",
    ),
    categories=("api-extensions",),
    storage="apiextensions.k8s.io/customresourcedefinitions",
    subresources=(status("CustomResourceDefinition", "apiextensions.k8s.io"),),
    table=CREATED,
    storage_version_hash="jfWCUB31mvA=",
    generation=wish_changed,
)
