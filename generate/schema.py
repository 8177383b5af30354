"""Read the schemas of Kubernetes v1.36 from the package kubernetes-validate, in the form that Kybern uses.

That package carries the OpenAPI definitions as JSON schema: every optional field is ``[type, "null"]`` and references
point into ``$defs``. Here they become OpenAPI v3 again, limited to the groups that the API serves.
"""

import json
from importlib import resources
from typing import Any

VERSION = "v1.36.0"

# Definition prefixes of what is served, by default or when it is switched on, and the Python module of each.
MODULES = {
    "io.k8s.api.core.v1": "core_v1",
    "io.k8s.api.apps.v1": "apps_v1",
    "io.k8s.api.admissionregistration.v1": "admissionregistration_v1",
    "io.k8s.api.authentication.v1": "authentication_v1",
    "io.k8s.api.authorization.v1": "authorization_v1",
    "io.k8s.api.autoscaling.v1": "autoscaling_v1",
    "io.k8s.api.autoscaling.v2": "autoscaling_v2",
    "io.k8s.api.batch.v1": "batch_v1",
    "io.k8s.api.certificates.v1": "certificates_v1",
    "io.k8s.api.certificates.v1alpha1": "certificates_v1alpha1",
    "io.k8s.api.certificates.v1beta1": "certificates_v1beta1",
    "io.k8s.api.coordination.v1": "coordination_v1",
    "io.k8s.api.discovery.v1": "discovery_v1",
    "io.k8s.api.events.v1": "events_v1",
    "io.k8s.api.flowcontrol.v1": "flowcontrol_v1",
    "io.k8s.api.networking.v1": "networking_v1",
    "io.k8s.api.node.v1": "node_v1",
    "io.k8s.api.policy.v1": "policy_v1",
    "io.k8s.api.rbac.v1": "rbac_v1",
    "io.k8s.api.resource.v1": "resource_v1",
    "io.k8s.api.scheduling.v1": "scheduling_v1",
    "io.k8s.api.storage.v1": "storage_v1",
    "io.k8s.api.storagemigration.v1beta1": "storagemigration_v1beta1",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1": "apiextensions_v1",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1": "apiregistration_v1",
    "io.k8s.apimachinery.pkg.apis.meta.v1": "meta_v1",
}
# What such a group and version has beside, and nobody serves here.
UNSERVED = ("io.k8s.api.certificates.v1beta1.PodCertificateRequest",)
SCALARS = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "description": "IntOrString is an integer or a string: a number, or a percentage such as 25%.",
        "format": "int-or-string",
        "type": "string",
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": None,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": None,
    "io.k8s.apimachinery.pkg.version.Info": None,
}


def split(name: str) -> tuple[str, str]:
    """A definition's name as (package, type)."""
    package, _, kind = name.rpartition(".")
    return package, kind


def load() -> dict[str, Any]:
    """All served definitions by name, as OpenAPI v3 schemas with references into ``#/components/schemas/``."""
    root = (
        resources.files("kubernetes_validate") / f"kubernetes-json-schema/{VERSION}-local/_definitions.json"
    )
    found = json.loads(root.read_text())["$defs"]
    served = {
        name: plain(schema)
        for name, schema in found.items()
        if (split(name)[0] in MODULES and not name.startswith(UNSERVED)) or name in SCALARS
    }
    served |= {name: schema for name, schema in SCALARS.items() if schema is not None}
    served["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {
        "description": served["io.k8s.apimachinery.pkg.api.resource.Quantity"].get("description", ""),
        "type": "string",
    }
    return dict(sorted(served.items()))


def plain(schema: Any) -> Any:
    """A JSON schema node as OpenAPI v3: no null types, no enum of one's own kind, references renamed."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A schema's own $schema and $id are text; a field of that name (JSONSchemaProps has one) is a schema.
    found = {
        key: plain(value)
        for key, value in schema.items()
        if key not in ("$schema", "$id") or not isinstance(value, str)
    }
    if isinstance(found.get("type"), list):
        found["type"] = next(kind for kind in found["type"] if kind != "null")
    if isinstance(found.get("$ref"), str):
        found["$ref"] = found["$ref"].replace("#/$defs/", "#/components/schemas/")
    for own in ("apiVersion", "kind"):
        field = found.get("properties", {}).get(own)
        if isinstance(field, dict):
            field.pop("enum", None)
    return found
