from collections import Counter

import pytest

from kybern.apiserver.fairness.hands import hand


@pytest.mark.parametrize(("queues", "size"), [(1, 1), (8, 8), (64, 6), (128, 6), (3, 5)])
def test_a_hand_is_of_different_queues(queues: int, size: int) -> None:
    for number in range(200):
        found = hand("schema", str(number), queues, size)
        assert len(found) == len(set(found)) == min(queues, size)
        assert all(0 <= one < queues for one in found)


def test_a_flow_always_has_the_same_hand_and_others_have_others() -> None:
    assert hand("s", "ann", 64, 6) == hand("s", "ann", 64, 6)
    assert len({hand("s", str(number), 64, 6) for number in range(500)}) == 500
    # Where one name ends and the other begins counts.
    assert hand("ab", "c", 64, 6) != hand("a", "bc", 64, 6)


def test_queues_are_dealt_evenly() -> None:
    """Each of 8 queues is in 4,000 * 3 / 8 hands on the average; 1,500 with a deviation of 31."""
    found = Counter(queue for number in range(4000) for queue in hand("s", str(number), 8, 3))
    assert all(1300 < found[queue] < 1700 for queue in range(8))
