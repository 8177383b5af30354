"""XSalsa20-Poly1305, as NaCl's secretbox: a nonce of 24 bytes, and a tag of 16 before the text.

The library has Poly1305 and no Salsa20, so the stream is made here: each step of a round is done for all blocks at once,
with numpy. Sources: Bernstein, "The Salsa20 family of stream ciphers" and "Extending the Salsa20 nonce"; NaCl.
"""

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

NONCE, TAG, KEY = 24, 16, 32
_BLOCK = 64

type Words = NDArray[np.uint32]

_CONSTANT = np.frombuffer(b"expand 32-byte k", "<u4")
# The sixteen words as four rows of four, so that the quarter rounds of a column round lie side by side.
_LAYOUT = ((0, 5, 10, 15), (4, 9, 14, 3), (8, 13, 2, 7), (12, 1, 6, 11))
# Each step: which row is changed, by the sum of which two, turned by how many bits.
_STEPS = tuple(
    (changed, first, second, np.uint32(bits), np.uint32(32 - bits))
    for changed, first, second, bits in ((1, 0, 3, 7), (2, 1, 0, 9), (3, 2, 1, 13), (0, 3, 2, 18))
)
# What leads from a column round to a row round, and back.
_TURNS = (np.array((1, 2, 3, 0)), np.array((2, 3, 0, 1)), np.array((3, 0, 1, 2)))
# The words of a state: constants on the diagonal, the key in two halves, then nonce and counter between them.
_DIAGONAL, _KEY, _INPUT = (0, 5, 10, 15), (1, 2, 3, 4, 11, 12, 13, 14), (6, 7, 8, 9)


def _rounds(state: Words) -> Words:
    """Twenty rounds; the words are the first axis, blocks the second."""
    rows = [state[list(each)] for each in _LAYOUT]
    for _ in range(20):
        for changed, first, second, left, right in _STEPS:
            total = rows[first] + rows[second]
            rows[changed] ^= (total << left) | (total >> right)
        rows = [rows[0], rows[3][_TURNS[0]], rows[2][_TURNS[1]], rows[1][_TURNS[2]]]
    mixed = np.empty_like(state)
    for each, row in zip(_LAYOUT, rows, strict=True):
        mixed[list(each)] = row
    return mixed


def _state(key: bytes, inputs: Words) -> Words:
    """``inputs``: four words for each block."""
    state = np.empty((16, inputs.shape[1]), np.uint32)
    state[list(_DIAGONAL)] = _CONSTANT[:, None]
    state[list(_KEY)] = np.frombuffer(key, "<u4")[:, None]
    state[list(_INPUT)] = inputs
    return state


def _subkey(key: bytes, nonce: bytes) -> bytes:
    """HSalsa20."""
    mixed = _rounds(_state(key, np.frombuffer(nonce, "<u4")[:, None]))
    return mixed[[*_DIAGONAL, *_INPUT], 0].astype("<u4").tobytes()


def _stream(key: bytes, nonce: bytes, size: int) -> NDArray[np.uint8]:
    """XSalsa20's, of ``size`` bytes."""
    count = -(-size // _BLOCK)
    inputs = np.empty((4, count), np.uint32)
    inputs[:2] = np.frombuffer(nonce[16:], "<u4")[:, None]
    inputs[2], inputs[3] = np.arange(count, dtype=np.uint32), 0
    state = _state(_subkey(key, nonce[:16]), inputs)
    blocks = (_rounds(state) + state).T.astype("<u4")
    return np.frombuffer(blocks.tobytes(), np.uint8)[:size]


def _turned(text: bytes, stream: NDArray[np.uint8]) -> bytes:
    return (np.frombuffer(text, np.uint8) ^ stream).tobytes()


def seal(key: bytes, nonce: bytes, text: bytes) -> bytes:
    """Tag and encrypted text."""
    stream = _stream(key, nonce, KEY + len(text))
    hidden = _turned(text, stream[KEY:])
    return Poly1305.generate_tag(stream[:KEY].tobytes(), hidden) + hidden


def open_sealed(key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """The text. Raises ValueError when it was sealed with another key, or changed since."""
    tag, hidden = sealed[:TAG], sealed[TAG:]
    stream = _stream(key, nonce, KEY + len(hidden))
    try:
        Poly1305.verify_tag(stream[:KEY].tobytes(), hidden, tag)
    except InvalidSignature as problem:
        raise ValueError("the tag does not fit") from problem
    return _turned(hidden, stream[KEY:])
