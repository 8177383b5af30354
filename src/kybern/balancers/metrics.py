"""What the speaker of a node measures. The giver of addresses has its work queue's metrics (``loop.metrics``)."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge

ADDRESSES = Gauge("kybern_speaker_announced_addresses", "Addresses that this node announces")
ALIVE = Gauge("kybern_speaker_alive_nodes", "Nodes whose speakers were heard of late, this one among them")
ANNOUNCEMENTS = Counter(
    "kybern_speaker_announcements_total", "Times that an address was announced without a question"
)
ANSWERS = Counter("kybern_speaker_answers_total", "Questions for an address that were answered")
CHANGES = Counter(
    "kybern_speaker_address_changes_total", "Addresses that came to this node, and that left it", ["change"]
)


def count(addresses: Callable[[], int]) -> None:
    ADDRESSES.set_function(addresses)
