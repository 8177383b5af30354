"""Our bytes beside those of dnslib, which somebody else wrote."""

import struct

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.dns import encode, message
from kybern.dns.answer import NOERROR, NXDOMAIN, Answer, Settings, answer
from kybern.dns.records import AAAA, ANY, CNAME, PTR, SOA, SRV, TXT, A, Record
from tests.unit.dns.objects import endpoint, service, slice_of, zone

LARGE = tuple(endpoint(f"10.244.{number // 250}.{number % 250 + 1}") for number in range(400))
ZONE = zone(
    (service("web", "10.96.0.1", "fd00::1"), service("pets"), service("large")),
    (slice_of("pets", endpoint("10.244.0.5", "my-pet"), endpoint("10.244.0.6")), slice_of("large", *LARGE)),
)
QUESTIONS = [
    ("web.default.svc.cluster.local", A), ("web.default.svc.cluster.local", AAAA), ("WEB.Default.SVC.cluster.LOCAL", ANY),
    ("_http._tcp.web.default.svc.cluster.local", SRV), ("_http._tcp.pets.default.svc.cluster.local", SRV),
    ("pets.default.svc.cluster.local", A), ("1.0.96.10.in-addr.arpa", PTR), ("dns-version.cluster.local", TXT),
    ("nobody.default.svc.cluster.local", A), ("cluster.local", SOA), ("web.default.svc.cluster.local", TXT),
    ("10-0-0-1.default.pod.cluster.local", A),
]  # fmt: skip


def asked(name: str, kind: int, size: int = 0) -> bytes:
    made = dnslib.DNSRecord(dnslib.DNSHeader(id=77, rd=1), q=dnslib.DNSQuestion(name, kind))
    if size:
        made.add_ar(dnslib.EDNS0(udp_len=size))
    return bytes(made.pack())


def answered(data: bytes, limit: int = 65535) -> bytes:
    question = message.read(data)
    found = answer(ZONE, Settings(), question.name, question.kind)
    assert found is not None
    return encode.render(question, found, 30, limit)


@pytest.mark.parametrize("size", [0, 1232, 4096])
@pytest.mark.parametrize(("name", "kind"), QUESTIONS)
def test_dnslib_reads_what_is_written(name: str, kind: int, size: int) -> None:
    found = dnslib.DNSRecord.parse(answered(asked(name, kind, size)))
    wanted = answer(ZONE, Settings(), name.lower(), kind)

    assert wanted is not None
    assert (found.header.id, found.header.qr, found.header.aa, found.header.ra, found.header.tc) == (
        77,
        1,
        1,
        1,
        0,
    )
    assert str(found.q.qname) == f"{name}."
    assert [shown(one) for one in found.rr] == [(one.name, one.type, one.value) for one in wanted.records]
    assert [one.rtype for one in found.auth] == [one.type for one in wanted.authority]
    extra = [shown(one) for one in found.ar if one.rtype != dnslib.QTYPE.OPT]
    assert extra == [(one.name, one.type, one.value) for one in wanted.additional]
    assert len(found.ar) - len(extra) == (1 if size else 0)
    assert found.header.rcode == wanted.rcode


def shown(record: dnslib.RR) -> tuple[str, int, str]:
    value = str(record.rdata).strip('"')
    value = value if record.rtype == AAAA else " ".join(word.rstrip(".") for word in value.split())
    return str(record.rname).rstrip(".").lower(), record.rtype, value


@pytest.mark.parametrize(("name", "kind", "size"), [
    ("a.b.c", A, 0), ("A.b", AAAA, 512), ("x", SRV, 4096), ("x", TXT, 100), ("", PTR, 0), ("a" * 63, A, 0),
])  # fmt: skip
def test_questions_are_read_as_dnslib_writes_them(name: str, kind: int, size: int) -> None:
    found = message.read(asked(name, kind, size))

    assert (found.id, found.name, found.kind, found.group) == (77, name.lower(), kind, 1)
    assert (found.edns, found.size) == (bool(size), max(size, 512))


@pytest.mark.parametrize("limit", [512, 700, 1232, 4096])
def test_what_does_not_fit_is_cut_at_a_record_and_says_so(limit: int) -> None:
    data = answered(asked("large.default.svc.cluster.local", A, limit), limit)
    found = dnslib.DNSRecord.parse(data)

    assert limit - 16 <= len(data) <= limit
    assert found.header.tc == 1
    assert len({str(one.rdata) for one in found.rr}) == len(found.rr) > 10


def test_by_tcp_all_of_it_comes() -> None:
    found = dnslib.DNSRecord.parse(answered(asked("_http._tcp.large.default.svc.cluster.local", SRV)))

    assert (found.header.tc, len(found.rr), len(found.ar)) == (0, 400, 400)


def test_additional_records_go_first() -> None:
    found = dnslib.DNSRecord.parse(answered(asked("_http._tcp.pets.default.svc.cluster.local", SRV), 200))

    assert (found.header.tc, len(found.rr), len(found.ar)) == (0, 2, 0)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_question_or_malformed(data: bytes) -> None:
    try:
        found = message.read(data)
    except message.Malformed:
        return
    assert found.section == data[12 : 12 + len(found.section)]


@given(st.binary(max_size=60), st.integers(0, 2))
def test_whatever_follows_a_good_header_is_answered_or_malformed(rest: bytes, additional: int) -> None:
    data = b"\0\7\1\0\0\1\0\0\0\0\0" + bytes((additional,)) + rest
    try:
        question = message.read(data)
    except message.Malformed:
        assert encode.malformed(data)[3] & 15 == 1
        return
    found = answer(ZONE, Settings(), question.name, question.kind) or Answer()
    assert encode.render(question, found, 30, 512)[:2] == b"\0\7"


@given(st.data())
def test_a_damaged_answer_is_read_or_malformed(data: st.DataObject) -> None:
    whole = bytearray(answered(asked("_http._tcp.pets.default.svc.cluster.local", SRV, 1232)))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    try:
        for one in message.records_of(bytes(whole)):
            assert one.end <= len(whole)
        message.addresses_of(bytes(whole))
    except message.Malformed:
        return


@pytest.mark.parametrize("data", [
    b"", b"\0" * 11, b"\0\1\x80\0\0\1\0\0\0\0\0\0\0\0\1\0\1",
])  # fmt: skip
def test_what_is_no_question_gets_no_answer(data: bytes) -> None:
    with pytest.raises(message.Malformed):
        message.read(data)
    assert encode.malformed(data) == b""


@pytest.mark.parametrize("rest", [
    b"\0\2\0\0\0\0\0\0\0\0\1\0\1", b"\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", b"\0\1\0\0\0\0\0\0\x40a\0\0\1\0\1",
    b"\0\1\0\0\0\0\0\0\5ab", b"\0\1\0\0\0\0\0\0\1a\0\0\1", b"\0\1\0\1\0\0\0\0\0\0\1\0\1", b"\0\0\0\0\0\0\0\0",
])  # fmt: skip
def test_a_malformed_question_is_told_so(rest: bytes) -> None:
    data = b"\0\7\1\0" + rest

    with pytest.raises(message.Malformed):
        message.read(data)
    assert dnslib.DNSRecord.parse(encode.malformed(data)).header.rcode == 1


def test_an_unknown_version_of_edns_is_refused() -> None:
    made = dnslib.DNSRecord(q=dnslib.DNSQuestion("a.", A))
    made.add_ar(dnslib.EDNS0(version=1))
    question = message.read(bytes(made.pack()))

    found = dnslib.DNSRecord.parse(encode.bad_version(question))
    assert (question.version, found.header.rcode, found.ar[0].edns_ext_rcode if hasattr(found.ar[0], "edns_ext_rcode")
            else found.ar[0].ttl >> 24) == (1, 0, 1)  # fmt: skip


def upstream(*lines: str, rcode: int = 0, auth: str = "") -> bytes:
    made = dnslib.DNSRecord(dnslib.DNSHeader(qr=1, rcode=rcode), q=dnslib.DNSQuestion("www.example.com", A))
    for line in lines:
        made.add_answer(*dnslib.RR.fromZone(line))
    if auth:
        made.add_auth(*dnslib.RR.fromZone(auth))
    return bytes(made.pack())


SOA_LINE = "example.com. 900 IN SOA ns.example.com. me.example.com. 1 2 3 4 60"


@pytest.mark.parametrize(("data", "seconds"), [
    (upstream("www.example.com. 300 A 1.2.3.4", "www.example.com. 20 A 1.2.3.5"), 20),
    (upstream(rcode=NXDOMAIN, auth=SOA_LINE), 60),
    (upstream(rcode=NOERROR, auth=SOA_LINE), 60),
    (upstream(rcode=NXDOMAIN, auth=SOA_LINE.replace("900", "7")), 7),
    (upstream(rcode=NXDOMAIN), 0),
    (upstream(rcode=2, auth=SOA_LINE), 0),
    (upstream(rcode=5), 0),
    (upstream("www.example.com. 0 A 1.2.3.4"), 0),
])  # fmt: skip
def test_how_long_an_answer_may_be_kept(data: bytes, seconds: int) -> None:
    assert message.lifetime(data, message.records_of(data)) == seconds


def test_the_addresses_of_an_answer_are_read_with_their_pointers() -> None:
    data = upstream(
        "www.example.com. 9 CNAME a.example.com.",
        "a.example.com. 9 A 1.2.3.4",
        "a.example.com. 9 AAAA fd00::1",
    )

    assert message.addresses_of(data) == (
        Record("www.example.com", CNAME, "a.example.com"),
        Record("a.example.com", A, "1.2.3.4"),
        Record("a.example.com", AAAA, "fd00::1"),
    )


def test_names_that_cannot_be_written_again_are_malformed() -> None:
    label = dnslib.DNSLabel([b".", b"example", b"com"])
    for name, target in ((label, "www.example.com"), ("www.example.com", label)):
        made = dnslib.DNSRecord(dnslib.DNSHeader(qr=1), q=dnslib.DNSQuestion("www.example.com"))
        made.add_answer(dnslib.RR(name, dnslib.QTYPE.CNAME, rdata=dnslib.CNAME(target)))
        with pytest.raises(message.Malformed, match="a dot within a label"):
            message.addresses_of(bytes(made.pack()))


def test_a_question_to_another_server_is_the_clients_own() -> None:
    question = message.read(asked("Www.Example.com", A, 4096))
    found = dnslib.DNSRecord.parse(encode.query(9, question))

    assert (found.header.id, found.header.rd, str(found.q.qname)) == (9, 1, "Www.Example.com.")
    assert struct.unpack_from("!H", encode.query(9, question), 10) == (1,)
    assert encode.section("www.example.com", A) == asked("www.example.com", A)[12:]


def test_a_truncated_answer_has_the_question_only() -> None:
    found = dnslib.DNSRecord.parse(encode.truncated(message.read(asked("a.b", A))))

    assert (found.header.tc, found.rr, found.header.rcode) == (1, [], 0)
    assert encode.render(message.read(asked("a.b", A)), Answer(), 0, 512) != b""
