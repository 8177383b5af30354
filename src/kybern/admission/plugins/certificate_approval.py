"""Who approves a certificate request must be allowed to approve for its signer."""

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.signers import GROUP, RESOURCE, may


async def validate(request: Request) -> None:
    if request.operation != "UPDATE" or request.subresource != "approval" or request.old is None:
        return
    signer = (request.old.get("spec") or {}).get("signerName", "")
    if not await may(request, "approve", signer):
        raise refused(request, f'user not permitted to approve requests with signerName "{signer}"')


PLUGIN = Plugin("CertificateApproval", validate=validate, resources=frozenset({(GROUP, RESOURCE)}))
