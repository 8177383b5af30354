"""ClusterTrustBundle: certificates of authorities, of one signer's or of nobody's in particular, for all to read.

Served only when it is switched on (KEP-3257): ``--runtime-config`` and the feature gate ClusterTrustBundle. Who publishes
for a signer must be allowed to attest for it (admission, ClusterTrustBundleAttest).
"""

from kybern.api.rules import trustbundles
from kybern.machinery import names
from kybern.machinery.kind import Kind, Rules

KIND = Kind(
    group="certificates.k8s.io",
    version="v1beta1",
    kind="ClusterTrustBundle",
    plural="clustertrustbundles",
    namespaced=False,
    schema="io.k8s.api.certificates.v1beta1.ClusterTrustBundle",
    singular="clustertrustbundle",
    storage="clustertrustbundles",
    selectable=trustbundles.SELECTABLE,
    table=trustbundles.TABLE,
    rules=Rules(default=trustbundles.default, validate=trustbundles.validate),
    # The rest depends on the signer; the rules see to it.
    valid_name=names.path_segment,
    allow_unconditional_update=False,
    storage_version_hash="v5yhuVertL4=",
    deprecated=(
        "certificates.k8s.io/v1beta1 ClusterTrustBundle is deprecated in v1.36+, unavailable in v1.39+"
    ),
)
