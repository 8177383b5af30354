"""Sources of projected volumes that are there only with a feature gate (KEP-3257, KEP-4317): off, they are written without.

What a stored object says already, it goes on saying: upstream's dropDisabledPodFields.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kybern.api.rules.causes import all_invalid, invalid, required
from kybern.api.rules.labels import selector
from kybern.api.rules.paths import below_and_free
from kybern.api.rules.signers import bundle_name, signer_name, signer_of
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

GATE = "ClusterTrustBundleProjection"
_GATES: Mapping[str, str] = {"clusterTrustBundle": GATE, "podCertificate": "PodCertificateRequest"}


def drop(spec: Raw, old: Raw, gates: Collection[str]) -> None:
    """Take out of a pod's spec the sources that no gate of these lets in, but for those of the old spec's sorts."""
    for source in _sources(spec):
        for key, gate in _GATES.items():
            if key in source and gate not in gates and not any(one.get(key) for one in _sources(old)):
                del source[key]


def _sources(spec: Raw) -> Iterator[Raw]:
    for volume in spec.get("volumes") or ():
        yield from (volume.get("projected") or {}).get("sources") or ()


def trust_bundle(field: str, source: Raw) -> Iterator[Cause]:
    """A ClusterTrustBundle by name, or those of a signer. Upstream names the field as it was called at first."""
    at = f"{field.removesuffix('.clusterTrustBundle')}.clusterTrustBundlePEM"
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        yield invalid(at, _shown(source), "only one of name and signerName may be used")
    elif name is not None:
        yield from _named(at, name, source)
    elif signer is not None:
        if not signer:
            yield required(f"{at}.signerName", "must be a valid signer name")
        yield from signer_name(f"{at}.signerName", signer)
        yield from selector(f"{at}.labelSelector", source.get("labelSelector"))
    else:
        yield required(at, "either name or signerName must be specified")
    path = source.get("path") or ""
    if not path:
        yield required(f"{at}.path")
    yield from below_and_free(f"{at}.path", path)


def _named(at: str, name: str, source: Raw) -> Iterator[Cause]:
    if not name:
        yield required(f"{at}.name", "must be a valid object name")
    wrong = (f"not a valid clustertrustbundlename: {why}" for why in bundle_name(signer_of(name), name))
    yield from all_invalid(f"{at}.name", name, wrong)
    chosen = source.get("labelSelector")
    if chosen is not None:
        yield invalid(f"{at}.labelSelector", chosen, "labelSelector must be unset if name is specified")


def _shown(source: Raw) -> dict[str, Any]:
    """As Go prints its internal type."""
    keys = {
        "Name": "name",
        "SignerName": "signerName",
        "LabelSelector": "labelSelector",
        "Optional": "optional",
        "Path": "path",
    }
    return {name: source.get(key) for name, key in keys.items()}
