"""Who puts a certificate into a request must be allowed to sign for its signer."""

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.signers import GROUP, RESOURCE, may


async def validate(request: Request) -> None:
    if request.operation != "UPDATE" or request.subresource != "status":
        return
    new, old = request.new or {}, request.old or {}
    after, before = new.get("status") or {}, old.get("status") or {}
    if all(after.get(field) == before.get(field) for field in ("certificate", "conditions")):
        return
    signer = (old.get("spec") or {}).get("signerName", "")
    if not await may(request, "sign", signer):
        raise refused(request, f'user not permitted to sign requests with signerName "{signer}"')


PLUGIN = Plugin("CertificateSigning", validate=validate, resources=frozenset({(GROUP, RESOURCE)}))
