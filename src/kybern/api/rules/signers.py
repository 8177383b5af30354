"""Names of signers, and of what belongs to one: upstream's ValidateSignerName and ValidateClusterTrustBundleName."""

from collections.abc import Iterable, Iterator

from kybern.api.rules.causes import invalid, required, too_long
from kybern.api.rules.formats import Format, label, subdomain
from kybern.machinery.errors import Cause
from kybern.machinery.names import generated

_DOMAIN = 253
_LONGEST = _DOMAIN + 1 + 63 + 1 + 253


def signer_name(field: str, name: str) -> Iterator[Cause]:
    """``example.com/signer``: a domain of at least two labels, and subdomains that dots part."""
    if not name:
        yield required(field)
        return
    domain, _, path = name.partition("/")
    if name.count("/") != 1:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield invalid(field, name, why)
        return
    if len(domain) > _DOMAIN:
        yield too_long(field, _DOMAIN)
    yield from _labels(field, domain, label)
    if "." not in domain:
        yield invalid(field, domain, "should be a domain with at least two segments separated by dots")
    yield from _labels(field, path, subdomain)
    if len(name) > _LONGEST:
        yield too_long(field, _LONGEST)


def _labels(field: str, text: str, check: Format) -> Iterator[Cause]:
    """Only the first bad one is told of, as the others would say the same."""
    for part in text.split("."):
        if found := check(part):
            for why in found:
                yield invalid(field, text, f'validating label "{part}": {why}')
            return


def bundle_name(signer: str, name: str, *, prefix: bool = False) -> Iterable[str]:
    """What is wrong with the name of a signer's ClusterTrustBundle; ``prefix``: more of it is generated."""
    if not signer:
        if ":" in name:
            return ('ClusterTrustBundle without signer name must not have ":" in its name',)
    else:
        start = f"{signer.replace('/', ':')}:"
        if not name.startswith(start):
            return (f"ClusterTrustBundle for signerName {signer} must be named with prefix {start}",)
        name = name.removeprefix(start)
    return generated(subdomain, name) if prefix else subdomain(name)


def signer_of(name: str) -> str:
    """The signer that a ClusterTrustBundle's name speaks of; empty for none."""
    signer, colon, _ = name.rpartition(":")
    return signer.replace(":", "/") if colon else ""
