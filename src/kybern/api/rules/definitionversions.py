"""Definitions of custom kinds as upstream stores them: apiextensions.k8s.io/v1beta1, which is smaller.

What all versions of the kind have in common stands there once, beside the list of versions. Here it goes to each of them.
"""

from kybern.machinery.kind import Raw

_COMMON = {
    "validation": "schema",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


def from_beta(raw: Raw) -> None:
    """A v1beta1 definition as one of v1, in place."""
    spec = raw.get("spec") or {}
    spec.setdefault("preserveUnknownFields", True)
    first = spec.pop("version", "")
    if not spec.get("versions") and first:
        spec["versions"] = [{"name": first, "served": True, "storage": True}]
    for name, own in _COMMON.items():
        common = spec.pop(name, None)
        for version in spec.get("versions") or () if common is not None else ():
            version[own] = common
    for version in spec.get("versions") or ():
        if version.get("additionalPrinterColumns"):
            version["additionalPrinterColumns"] = [
                _column(column) for column in version["additionalPrinterColumns"]
            ]
    _conversion(spec.get("conversion") or {})


def _column(column: Raw) -> Raw:
    return {("jsonPath" if key == "JSONPath" else key): value for key, value in column.items()}


def _conversion(conversion: Raw) -> None:
    client = conversion.pop("webhookClientConfig", None)
    reviews = conversion.pop("conversionReviewVersions", None)
    if client is None and reviews is None:
        return
    webhook: Raw = {"conversionReviewVersions": reviews or []}
    if client is not None:
        webhook["clientConfig"] = client
    conversion["webhook"] = webhook
