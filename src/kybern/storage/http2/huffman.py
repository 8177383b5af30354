"""The Huffman code of header texts (RFC 7541, appendix B).

The code is canonical: codes of one length follow each other in the order of their symbols, so that the lengths alone
say all of it. Bits are looked at one by one, which is slow, and done once for each different header block.
"""

_LENGTHS = (
    "13 23 28*7 24 30 28 28 30 28*8 30 28*9 6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6*7 7 8 15 6 12 10 13 6 7*22 "
    "8 7 8 13 19 13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7*5 15 11 14 13 28 20 22 20 20 22 22 22 23 22 "
    "23*5 24 23 24 24 22 23 24 23*4 21 22 23 22 23 23 24 22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 "
    "22 23 23 20 22 22 22 23 22 22 23 26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 "
    "26 28 27*3 20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27*5 28 27*5 26 30"
)
_END = 256  # a symbol that may not stand in a text


def _codes() -> dict[tuple[int, int], int]:
    """From the length of a code and its bits to its symbol."""
    lengths: list[int] = []
    for word in _LENGTHS.split():
        said, _, times = word.partition("*")
        lengths += [int(said)] * int(times or 1)
    found: dict[tuple[int, int], int] = {}
    code = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - before
        found[length, code] = symbol
        before, code = length, code + 1
    return found


_CODES = _codes()


def decoded(data: bytes) -> bytes:
    """The text; bits at the end that are no symbol fill the last byte."""
    found = bytearray()
    code = length = 0
    for byte in data:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            symbol = _CODES.get((length, code))
            if symbol is None or symbol == _END:
                continue
            found.append(symbol)
            code = length = 0
    return bytes(found)
