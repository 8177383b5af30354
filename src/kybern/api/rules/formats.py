"""How texts must be formed: names, keys, addresses. Each function gives complaints, none when the text is good.

The rules themselves are those of machinery.names; the same few texts are asked about again and again, so the answers
are remembered here.
"""

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache

from kybern.machinery import names

type Format = Callable[[str], tuple[str, ...]]


def _remembered(check: Callable[[str], Iterable[str]]) -> Format:
    @lru_cache(maxsize=4096)
    def answer(text: str) -> tuple[str, ...]:
        return tuple(check(text))

    return answer


label = _remembered(names.dns1123_label)
subdomain = _remembered(names.dns1123_subdomain)
dns1035 = _remembered(names.dns1035_label)
wildcard = _remembered(names.wildcard_subdomain)
qualified_name = _remembered(names.label_key)
label_value = _remembered(names.label_value)
data_key = _remembered(names.config_key)
environment_name = _remembered(names.relaxed_environment_name)
percent = _remembered(names.percent)
http_header = _remembered(names.http_header)
port_name = _remembered(names.port_name)
path_segment = _remembered(names.path_segment)
domain_path = _remembered(names.domain_path)


def ip(text: str) -> tuple[str, ...]:
    """An address; leading zeroes have meant different things to different programs, so none are allowed."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        parts = text.split(".")
        if len(parts) == 4 and all(part.isdecimal() and int(part) < 256 for part in parts):
            return ("must not have leading 0s",)
        return ("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",)
    if _is_mapped(found):
        return ("must not be an IPv4-mapped IPv6 address",)
    return ()


def _is_mapped(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None


def cidr(text: str) -> tuple[str, ...]:
    address, slash, length = text.partition("/")
    try:
        most = int(ipaddress.ip_address(address).max_prefixlen)
    except ValueError:
        most = -1
    if not slash or not length.isdecimal() or int(length) > most:
        return ("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",)
    return ()


def network(text: str) -> tuple[str, ...]:
    """A network whose address has nothing beyond its prefix, so that nobody can take it for an address."""
    complaints = cidr(text)
    if complaints:
        return complaints
    address, _, length = text.partition("/")
    if length != str(int(length)):
        return ("must not have leading 0s in IP or prefix length",)
    if _is_mapped(ipaddress.ip_address(address)):
        return ("must not have an IPv4-mapped IPv6 address",)
    if ipaddress.ip_network(text, strict=False).network_address != ipaddress.ip_address(address):
        return ("must not have bits set beyond the prefix length",)
    return ()
