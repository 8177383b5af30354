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
from kybern.kubelet.images import rights
from kybern.kubelet.images.names import InvalidName, checked, full, matches, repository
from kybern.kubelet.images.providers import Providers, read
from kybern.kubelet.images.pulls import Pulls
from kybern.kubelet.images.registries import Login, Source
from kybern.kubelet.images.rights import Credentials, Policy, needs_proof, proven, used
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


# -- who may use what is there ---------------------------------------------------------------------------------------------

MINE, OTHER = Source("Secret", "default", "mine", "1"), Source("Secret", "default", "other", "2")
ROBOT = Source("ServiceAccount", "default", "robot", "3")
THERE = Image("sha256:1", ("r.example/a/b:1", "docker.io/library/busybox:1"), (), 1, False)


def by(source: Source | None, password: str = "p") -> Login:
    return Login("r.example", "u", password, source=source)


def test_repositories_are_named_in_full() -> None:
    assert repository(f"r.example:5000/a/b:1@{DIGEST}") == "r.example:5000/a/b"
    assert (full("busybox:1"), full("me/it"), full("localhost/x:2")) == (
        "docker.io/library/busybox:1", "docker.io/me/it", "localhost/x:2",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "pulled", "needed"),
    [
        (Policy("NeverVerify"), True, False),
        (Policy(), True, True),
        (Policy(), False, False),
        (Policy("AlwaysVerify"), False, True),
        (Policy("NeverVerifyAllowlistedImages"), False, True),
        (Policy("NeverVerifyAllowlistedImages", ("r.example/a/*",)), False, False),
        (Policy("NeverVerifyAllowlistedImages", ("r.example/a/*",)), True, True),
        (Policy("NeverVerifyAllowlistedImages", ("r.example/a/b", "x")), False, False),
        (Policy("NeverVerifyAllowlistedImages", ("r.example/a", "r.example/a/bb")), False, True),
    ],
)
def test_the_policy_says_whose_images_are_looked_at(policy: Policy, pulled: bool, needed: bool) -> None:
    rights.check(policy)

    assert needs_proof(policy, "r.example/a/b:1", pulled=pulled) is needed


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        (Policy("Sometimes"), "is none of NeverVerify, "),
        (Policy("AlwaysVerify", ("a",)), "can't set `preloadedImagesVerificationAllowlist`"),
        (Policy("NeverVerifyAllowlistedImages", ("r.example/*/b",)), "is no image without tag"),
        (Policy("NeverVerifyAllowlistedImages", ("r.example/b:1",)), "is no image without tag"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy: Policy, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        rights.check(policy)


def test_an_image_is_for_those_who_have_its_credentials() -> None:
    mine = used(by(MINE))

    assert proven(mine, [by(MINE)]) == mine
    assert proven(mine, [by(OTHER)]) == rights.joined(mine, used(by(OTHER)))
    assert proven(mine, [by(OTHER, "q")]) is None
    assert proven(mine, [by(None), by(ROBOT, "q")]) is None
    assert proven(mine, []) is None
    assert proven(None, [by(MINE)]) is None
    changed = proven(mine, [by(MINE, "new")])
    assert changed is not None
    assert proven(changed, [by(OTHER, "new")]) is not None
    assert proven(changed, [by(OTHER, "p")]) is None
    assert proven(used(by(ROBOT)), [by(ROBOT, "x")]) == Credentials(accounts=(ROBOT,))


def test_what_was_pulled_without_credentials_is_for_everybody() -> None:
    assert proven(used(None), []) == Credentials(everybody=True)
    assert proven(used(by(None)), []) == Credentials(everybody=True)
    assert rights.joined(used(by(MINE)), used(None)) == Credentials(everybody=True)


def test_what_was_pulled_is_known_to_the_next_kubelet(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path, Policy())
    pulls.load([THERE])
    assert not pulls.needs_proof("r.example/a/b:1", "sha256:1")

    pulls.begin("r.example/a/b:1")
    assert pulls.needs_proof("r.example/a/b:1", "sha256:1")
    pulls.succeeded("r.example/a/b:1", "sha256:1", by(MINE))
    after = Pulls(tmp_path, Policy())
    after.load([THERE])

    (file,) = (tmp_path / "image_manager/pulled").iterdir()
    raw = json.loads(file.read_text())
    assert (raw["kind"], raw["imageRef"]) == ("ImagePulledRecord", "sha256:1")
    assert list(raw["credentialMapping"]) == ["r.example/a/b"]
    assert '"p"' not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "image_manager/pulling").iterdir()) == []
    assert after.needs_proof("r.example/a/b:1", "sha256:1")
    assert after.proven("r.example/a/b:1", "sha256:1", [by(MINE)])
    assert not after.proven("r.example/a/b:1", "sha256:1", [])
    assert not after.proven("r.example/other:1", "sha256:1", [by(MINE)])
    after.prune(["sha256:2"])
    assert not after.needs_proof("r.example/a/b:1", "sha256:1")
    assert list((tmp_path / "image_manager/pulled").iterdir()) == []


@pytest.mark.parametrize("name", ["r.example/a/b:1", "busybox:1"])
def test_a_pull_that_was_cut_off_leaves_an_image_that_needs_proof(tmp_path: Path, name: str) -> None:
    before = Pulls(tmp_path, Policy())
    before.load([])
    before.begin(name)

    after = Pulls(tmp_path, Policy())
    after.load([THERE])

    assert after.needs_proof(name, "sha256:1")
    assert not after.proven(name, "sha256:1", [by(MINE)])
    assert list((tmp_path / "image_manager/pulling").iterdir()) == []


def test_a_pull_that_failed_leaves_nothing(tmp_path: Path) -> None:
    pulls = Pulls(tmp_path, Policy())
    pulls.load([])
    pulls.begin("a:1")
    pulls.begin("a:1")

    pulls.failed("a:1")
    assert pulls.needs_proof("a:1", "sha256:1")
    pulls.failed("a:1")

    assert not pulls.needs_proof("a:1", "sha256:1")
    assert list((tmp_path / "image_manager/pulling").iterdir()) == []


def test_a_record_that_is_broken_is_as_good_as_none(tmp_path: Path) -> None:
    for directory in ("pulled", "pulling"):
        (tmp_path / "image_manager" / directory).mkdir(parents=True)
        (tmp_path / "image_manager" / directory / "sha256-0").write_text("{")
    (tmp_path / "image_manager/pulled/sha256-1").write_text("{}")
    pulls = Pulls(tmp_path, Policy())

    pulls.load([THERE])

    assert not pulls.needs_proof("r.example/a/b:1", "sha256:1")
