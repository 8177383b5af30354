"""ClusterTrustBundle in its first version, which differs in nothing but its name. Stored as certificates.k8s.io/v1beta1."""

from kybern.api.rules import trustbundles
from kybern.machinery import names
from kybern.machinery.kind import Conversion, Kind, Raw, Rules


def _to_stored(raw: Raw) -> Raw:
    return {**raw, "apiVersion": "certificates.k8s.io/v1beta1"}


def _from_stored(raw: Raw) -> Raw:
    return {**raw, "apiVersion": "certificates.k8s.io/v1alpha1"}


KIND = Kind(
    group="certificates.k8s.io",
    version="v1alpha1",
    kind="ClusterTrustBundle",
    plural="clustertrustbundles",
    namespaced=False,
    schema="io.k8s.api.certificates.v1alpha1.ClusterTrustBundle",
    singular="clustertrustbundle",
    storage="clustertrustbundles",
    selectable=trustbundles.SELECTABLE,
    table=trustbundles.TABLE,
    conversion=Conversion("certificates.k8s.io", "v1beta1", _to_stored, _from_stored),
    rules=Rules(default=trustbundles.default, validate=trustbundles.validate),
    valid_name=names.path_segment,
    allow_unconditional_update=False,
    storage_version_hash="v5yhuVertL4=",
    deprecated=(
        "certificates.k8s.io/v1alpha1 ClusterTrustBundle is deprecated in v1.34+, unavailable in v1.37+"
    ),
)
