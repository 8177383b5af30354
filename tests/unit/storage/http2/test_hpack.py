"""Header blocks: as RFC 7541 writes them, and as a server without a table does."""

import pytest

from kybern.storage.http2 import hpack, huffman


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        # RFC 7541, C.2.1 to C.2.4: literal with indexing, without, never indexed, indexed.
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            {"custom-key": "custom-header"},
        ),
        ("040c2f73616d706c652f70617468", {"": "/sample/path"}),
        ("100870617373776f726406736563726574", {"password": "secret"}),
        ("88", {":status": "200"}),
        # C.4.1's authority and C.6.1's status, both by Huffman's code.
        ("418cf1e3c2e5f23a6ba0ab90f4ff", {"": "www.example.com"}),
        ("4882 6402", {":status": "302"}),
        # A change of the table's size is passed over.
        ("203fe11f88", {":status": "200"}),
        ("", {}),
    ],
)
def test_a_block_is_read(block: str, fields: dict[str, str]) -> None:
    assert hpack.decoded(bytes.fromhex(block)) == fields


@pytest.mark.parametrize("block", ["be", "00", "0005", "000361", "7fffffffffffff7f", "0001ff0161"])
def test_what_is_no_block_is_refused(block: str) -> None:
    with pytest.raises(hpack.Malformed):
        hpack.decoded(bytes.fromhex(block))


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 256, 20_000])
def test_what_is_written_reads_back(length: int) -> None:
    fields = (("te", "trailers"), ("long", "x" * length))
    assert hpack.decoded(hpack.encoded(fields)) == dict(fields)


def test_the_code_is_complete() -> None:
    # Kraft's sum of a prefix code without gaps is one.
    assert sum(2.0**-length for length, _ in huffman._CODES) == 1
    assert sorted(huffman._CODES.values()) == list(range(257))
