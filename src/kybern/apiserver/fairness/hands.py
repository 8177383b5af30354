"""Which of a level's queues a flow may use: a few of many, dealt by a hash, so that two seldom have all in common. Pure."""

from hashlib import sha256


def hand(schema: str, flow: str, queues: int, size: int) -> tuple[int, ...]:
    """Different numbers from 0 to queues - 1; KEP-1040, "Shuffle sharding"."""
    number = int.from_bytes(sha256(f"{len(schema)},{schema},{flow}".encode()).digest())
    dealt: list[int] = []
    for taken in range(min(size, queues)):
        number, card = divmod(number, queues - taken)
        # The card-th of those that are left.
        for one in sorted(dealt):
            card += one <= card
        dealt.append(card)
    return tuple(dealt)
