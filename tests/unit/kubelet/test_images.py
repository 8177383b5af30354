"""Names of images, credentials for them, and which of them go."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import Pod, ServiceAccount, ServiceAccountTokenProjection
from kybern.api.meta_v1 import ObjectMeta
from kybern.daemon.run import Fatal
from kybern.kubelet.convert import Image
from kybern.kubelet.images.names import InvalidName, checked, matches
from kybern.kubelet.images.providers import Providers, read
from kybern.kubelet.images.surplus import too_old
from tests.unit.kubelet.making import pod

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1.36", "busybox:1.36"),
        ("localhost:5000/a/b-c.d", "localhost:5000/a/b-c.d:latest"),
        ("r.example/a__b", "r.example/a__b:latest"),
        (f"r.example/a@{DIGEST}", f"r.example/a@{DIGEST}"),
        (f"r.example/a:1@{DIGEST}", f"r.example/a:1@{DIGEST}"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
    ],
)
def test_names_get_a_tag(image: str, found: str) -> None:
    assert checked(image) == found


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        ("r.example/Upper", "invalid reference format: repository name (Upper) must be lowercase"),
        ("Upper", "invalid reference format: repository name (library/Upper) must be lowercase"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("b/" + "x" * 260, "repository name must not be more than 255 characters"),
    ],
)
def test_what_is_no_name_is_told(image: str, problem: str) -> None:
    with pytest.raises(InvalidName) as told:
        checked(image)

    assert str(told.value) == f'couldn\'t parse image name "{image}": {problem}'


@pytest.mark.parametrize(
    ("pattern", "wanted", "fits"),
    [
        ("*.example.com", "r.example.com/a", True),
        ("*.example.com", "a.r.example.com/a", False),
        ("r.example.com/team", "r.example.com/team/a", True),
        ("r.example.com/team", "r.example.com/other", False),
        ("r.example.com:5000", "r.example.com/a", False),
        ("r.example.com:5000", "r.example.com:5000/a", True),
        ("https://index.docker.io/v1/", "index.docker.io/library/busybox", True),
        ("docker.io", "index.docker.io/library/busybox", True),
    ],
)
def test_credentials_are_for_hosts_and_paths(pattern: str, wanted: str, fits: bool) -> None:
    assert matches(pattern, wanted) is fits


def test_images_that_nobody_used_for_long_go() -> None:
    images = [
        Image(name, (), (), 1, pinned)
        for name, pinned in (("old", False), ("new", False), ("kept", True), ("used", False))
    ]
    seen = {"old": 0.0, "new": 90.0, "kept": 0.0, "used": 0.0}

    assert [i.id for i in too_old(images, frozenset({"used"}), seen, 100.0, 50.0)] == ["old"]
    assert too_old(images, frozenset(), seen, 100.0, 0.0) == []


PROGRAM = """#!/usr/bin/env python3
import json, os, pathlib, sys
asked = json.load(sys.stdin)
log = pathlib.Path(os.environ["LOG"])
log.write_text((log.read_text() if log.exists() else "") + json.dumps(asked) + "\\n")
if sys.argv[1:] == ["fail"]:
    sys.exit("no luck")
print(json.dumps({"apiVersion": asked["apiVersion"], "kind": "CredentialProviderResponse",
    "cacheKeyType": os.environ.get("KEY", "Registry"), "cacheDuration": os.environ.get("KEPT"),
    "auth": {"*.example": {"username": "u", "password": "p"}, "other.example": {"username": "x", "password": "y"}}}))
"""


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., Providers]:
    def make(account: ServiceAccount | None = None, **more: Any) -> Providers:
        program = tmp_path / "known"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        env = {"LOG": str(tmp_path / "log")} | more.pop("env", {})
        one = {
            "name": "known", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["*.example"],
            "defaultCacheDuration": "1h", "env": [{"name": key, "value": value} for key, value in env.items()],
        }  # fmt: skip
        config = tmp_path / "config.yaml"
        raw = {
            "apiVersion": "kubelet.config.k8s.io/v1",
            "kind": "CredentialProviderConfig",
            "providers": [one | more],
        }
        config.write_text(json.dumps(raw))

        async def token(_pod: Pod, wanted: ServiceAccountTokenProjection) -> str:
            return f"token for {wanted.audience}"

        async def found(_namespace: str, _name: str) -> ServiceAccount | None:
            return account

        return Providers(read(str(config), str(tmp_path)), token, found)

    return make


def asked(tmp_path: Path) -> list[dict[str, Any]]:
    log = tmp_path / "log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


async def test_a_program_is_asked_once_for_as_long_as_its_answer_holds(
    programs: Callable[..., Providers], tmp_path: Path
) -> None:
    providers = programs()

    both = await asyncio.gather(
        providers.logins(pod(), "r.example/a:1"), providers.logins(pod(), "r.example/a:1")
    )
    await providers.logins(pod(), "r.example/b:1")
    other = await providers.logins(pod(), "elsewhere.org/a:1")

    assert [(one.username, one.password) for one in both[0]] == [("u", "p")]
    assert both[0] == both[1]
    assert other == ()
    assert asked(tmp_path) == [
        {
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "kind": "CredentialProviderRequest",
            "image": "r.example/a:1",
        }
    ]


@pytest.mark.parametrize(
    ("env", "times"), [({"KEPT": "0s"}, 2), ({"KEY": "Image"}, 2), ({"KEY": "Global"}, 1)]
)
async def test_the_program_says_for_what_its_answer_holds(
    programs: Callable[..., Providers], tmp_path: Path, env: dict[str, str], times: int
) -> None:
    providers = programs(env=env)

    for image in ("r.example/a:1", "r.example/b:1"):
        assert await providers.logins(pod(), image)

    assert len(asked(tmp_path)) == times


async def test_a_program_that_fails_is_as_good_as_none(
    programs: Callable[..., Providers], tmp_path: Path
) -> None:
    assert await programs(args=["fail"]).logins(pod(), "r.example/a:1") == ()
    assert await programs(env={"KEY": "Nonsense"}).logins(pod(), "r.example/a:1") == ()
    assert len(asked(tmp_path)) == 2


async def test_a_program_may_know_for_whom_it_is_asked(
    programs: Callable[..., Providers], tmp_path: Path
) -> None:
    account = ServiceAccount(
        metadata=ObjectMeta(name="sa", uid="s1", annotations={"a": "1", "b": "2", "c": "3"})
    )
    rules = {
        "serviceAccountTokenAudience": "hub", "requireServiceAccount": True,
        "requiredServiceAccountAnnotationKeys": ["a"], "optionalServiceAccountAnnotationKeys": ["b", "z"],
    }  # fmt: skip
    owned = pod(service_account_name="sa")

    assert await programs(account, tokenAttributes=rules).logins(pod(), "r.example/a") == ()
    assert await programs(account, tokenAttributes=rules).logins(owned, "r.example/a")
    lacking = rules | {"requiredServiceAccountAnnotationKeys": ["z"]}
    assert await programs(account, tokenAttributes=lacking).logins(owned, "r.example/a") == ()

    (only,) = asked(tmp_path)
    assert only["serviceAccountToken"] == "token for hub"
    assert only["serviceAccountAnnotations"] == {"a": "1", "b": "2"}


def test_what_cannot_be_used_is_told_at_the_start(programs: Callable[..., Providers], tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="has no matchImages"):
        programs(matchImages=[])
    with pytest.raises(Fatal, match="did not exist"):
        programs(name="nosuch")
    with pytest.raises(Fatal, match="cannot read"):
        read(str(tmp_path / "missing"), str(tmp_path))
