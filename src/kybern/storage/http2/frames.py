"""Frames of HTTP/2 (RFC 9113) and messages of gRPC as bytes: the numbers, and how they are packed."""

from struct import Struct

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
TABLE_SIZE, PUSH, FIRST_WINDOW, FRAME_SIZE = 1, 2, 4, 5
CANCEL, REFUSED = 8, 7

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
USUAL_WINDOW, USUAL_FRAME, MOST_WINDOW = 65_535, 16_384, (1 << 31) - 1

HEAD = Struct(">HBBBI")
"""The length in two parts, the type, flags, and the number of the stream."""
MESSAGE = Struct(">BI")
"""Whether a message is compressed, and its length."""
SETTING = Struct(">HI")
NUMBER = Struct(">I")


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    length = len(payload)
    return HEAD.pack(length >> 8, length & 255, kind, flags, number) + payload


def message(payload: bytes) -> bytes:
    return MESSAGE.pack(0, len(payload)) + payload


def window(number: int, more: int) -> bytes:
    return frame(WINDOW, 0, number, NUMBER.pack(more))


def reset(number: int) -> bytes:
    return frame(RESET, 0, number, NUMBER.pack(CANCEL))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in pairs))
