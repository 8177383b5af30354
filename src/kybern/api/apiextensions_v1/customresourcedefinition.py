"""CustomResourceDefinition: a kind that users bring."""

from kybern.api.rules import definitions, definitionversions
from kybern.api.rules.hooks import default_port
from kybern.api.rules.statuses import keep_metadata
from kybern.api.rules.subresources import status
from kybern.api.rules.tables import CREATED, dig
from kybern.machinery.kind import Kind, Raw, Rules, wish_changed


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    if not spec.get("preserveUnknownFields"):
        spec.pop("preserveUnknownFields", None)
    names = spec.setdefault("names", {})
    if not names.get("singular") and names.get("kind"):
        names["singular"] = names["kind"].lower()
    if not names.get("listKind") and names.get("kind"):
        names["listKind"] = names["kind"] + "List"
    conversion = spec.setdefault("conversion", {})
    if not conversion.get("strategy"):
        conversion["strategy"] = "None"
    default_port(dig(conversion, "webhook", "clientConfig", "service"))
    status_ = raw.setdefault("status", {})
    status_.setdefault("conditions", None)
    status_.setdefault("acceptedNames", {"plural": "", "kind": ""})
    status_.setdefault("storedVersions", None)


def _on_create(raw: Raw) -> None:
    """The version that objects are stored in is remembered from the start; conditions come from controllers."""
    stored = [version["name"] for version in raw["spec"].get("versions") or () if version.get("storage")]
    raw["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    }


def _on_update(new: Raw, _old: Raw) -> None:
    status_ = new.setdefault("status", {})
    stored = list(status_.get("storedVersions") or ())
    for version in dig(new, "spec", "versions") or ():
        if version.get("storage") and version["name"] not in stored:
            stored.append(version["name"])
    status_["storedVersions"] = stored


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
    rules=Rules(
        default=_default,
        on_create=_on_create,
        on_update=_on_update,
        validate=definitions.validate,
        warnings=definitions.warnings,
        on_status=keep_metadata,
    ),
    allow_unconditional_update=False,
    storage_version_hash="jfWCUB31mvA=",
    generation=wish_changed,
    on_foreign=definitionversions.from_beta,
)
