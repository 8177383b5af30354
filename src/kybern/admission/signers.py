"""Whether somebody may act for a signer of certificates: verbs on the resource ``signers``, by name or by domain."""

from functools import partial

from kybern.admission.framework import Request
from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.unsettled import settled

GROUP, RESOURCE = "certificates.k8s.io", "certificatesigningrequests"


async def may(request: Request, verb: str, signer: str) -> bool:
    """Whether the user of a request may ``approve``, ``sign`` or ``attest`` for a signer."""
    if request.authorize is None:
        return False
    domain = signer.split("/", maxsplit=1)[0]
    for name in (signer, f"{domain}/*"):
        asked = Attributes(request.user, verb, GROUP, "*", "signers", name=name)
        if (await settled(partial(request.authorize, asked))).verdict is Verdict.ALLOW:
            return True
    return False
