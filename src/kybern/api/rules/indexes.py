"""Lists of the indexes of a job's pods, such as ``1,3-5,7``."""


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    return int(text)


def count_of(text: str, completions: int) -> int:
    """How many indexes a list names. Raises ValueError in upstream's words."""
    total, last = 0, -1
    if not text:
        return 0
    for part in text.split(","):
        ends = part.split("-")
        if len(ends) > 2:
            rule = "violates the requirement that an index interval can have at most two parts"
            raise ValueError(f'the fragment "{part}" {rule}')
        low = _number(ends[0])
        high = _number(ends[-1])
        if high >= completions:
            raise ValueError(f'too large index: "{ends[-1]}"')
        if low <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        if len(ends) == 2 and low >= high:
            raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
        total, last = total + high - low + 1, high
    return total
