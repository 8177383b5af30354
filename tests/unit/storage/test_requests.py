"""Requests that are put together by hand are those that protobuf would write."""

import pytest

from kybern._proto import etcd_pb2
from kybern.storage import requests


def _expect(key: bytes, revision: int) -> etcd_pb2.Compare:
    return etcd_pb2.Compare(
        result=etcd_pb2.Compare.EQUAL, target=etcd_pb2.Compare.MOD, key=key, mod_revision=revision
    )


def _range(key: bytes) -> etcd_pb2.RequestOp:
    return etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=key))


@pytest.mark.parametrize("key", [b"/a", b"/registry/" + b"k" * 300])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000, 3_000_000])
@pytest.mark.parametrize(("expected", "lease"), [(0, 0), (1, 5), (127, 0), (1 << 40, 0x7FFF_FFFF_FFFF_FFFF)])
def test_a_write(key: bytes, size: int, expected: int, lease: int) -> None:
    put = etcd_pb2.PutRequest(key=key, value=bytes(size), lease=lease)
    wanted = etcd_pb2.TxnRequest(
        compare=[_expect(key, expected)],
        success=[etcd_pb2.RequestOp(request_put=put)],
        failure=[_range(key)],
    )

    assert etcd_pb2.TxnRequest.FromString(requests.put(key, bytes(size), expected, lease)) == wanted


def test_a_removal() -> None:
    removal = etcd_pb2.RequestOp(request_delete_range=etcd_pb2.DeleteRangeRequest(key=b"/a"))
    wanted = etcd_pb2.TxnRequest(compare=[_expect(b"/a", 300)], success=[removal], failure=[_range(b"/a")])

    assert etcd_pb2.TxnRequest.FromString(requests.delete(b"/a", 300)) == wanted


@pytest.mark.parametrize("count", [1, 2, 64])
def test_a_question_for_keys(count: int) -> None:
    keys = tuple(b"/" * (number * 4 + 100) for number in range(count))
    wanted = etcd_pb2.TxnRequest(success=[_range(key) for key in keys])

    assert etcd_pb2.TxnRequest.FromString(requests.read(keys)) == wanted
