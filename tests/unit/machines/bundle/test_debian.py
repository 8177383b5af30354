"""Packages as apt tells of them, and the flat repository that is made of them."""

from hashlib import sha256

from kybern.machines.bundle import debian

PRINTED = """\
'http://mirror.invalid/debian/pool/main/r/runc/runc_1.1.15%2bds1-2_amd64.deb' runc_1.1.15+ds1-2_amd64.deb 12 MD5Sum:00
'http://mirror.invalid/debian/pool/main/c/c_1%3a1.7%7eds1_amd64.deb' c_1%3a1.7~ds1_amd64.deb 13 MD5Sum:00
"""
CONTENT = """\
Package: runc
Version: 1.1.15+ds1-2
Depends: libc6
Description: a runtime
 of containers: small
Filename: pool/main/r/runc/runc_1.1.15+ds1-2_amd64.deb
Size: 12
SHA256: aa

Package: c
Version: 1:1.7~ds1
Filename: pool/main/c/c_1:1.7~ds1_amd64.deb
Size: 13
SHA256: bb

Package: other
Filename: pool/main/o/other_1_amd64.deb
Size: 1
SHA256: cc
"""
INDEX = debian.Index("http://mirror.invalid/debian/", "debian:trixie/main", "/lists/x")


def test_only_what_apt_would_fetch_is_taken_from_an_index() -> None:
    found = list(debian.archives(INDEX, CONTENT, debian.wanted_uris(PRINTED)))

    assert [one.fields["Package"] for one in found] == ["runc", "c"]


def test_an_artefact_names_the_origin_and_no_host() -> None:
    _, other = debian.archives(INDEX, CONTENT, debian.wanted_uris(PRINTED))
    made = other.artefact("debian-trixie")

    assert (made.sha256, made.size, made.path) == ("bb", 13, "debian-trixie/c_1:1.7-ds1_amd64.deb")
    assert (made.name, made.version, made.source) == ("c", "1:1.7~ds1", "debian:trixie/main")
    assert "mirror" not in made.line


def test_a_repository_names_its_files_beside_its_index_and_keeps_the_rest() -> None:
    text = debian.repository(list(debian.archives(INDEX, CONTENT, debian.wanted_uris(PRINTED))))

    assert text.count("Filename: ./") == 2
    assert "Filename: ./runc_1.1.15+ds1-2_amd64.deb" in text
    assert " of containers: small\n" in text
    assert "SHA256: aa" in text
    assert "Package: other" not in text


def test_the_release_covers_the_index() -> None:
    said = debian.release("trixie", b"index")

    assert "Codename: trixie\n" in said
    assert f" {sha256(b'index').hexdigest()} 5 Packages\n" in said
