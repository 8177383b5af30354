"""What the kubelet's server answers: upstream's paths, methods, codes and texts; its runtime says what it is told."""

import logging
import resource
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from multidict import MultiDict

from kybern.api.authentication_v1 import TokenReview, TokenReviewStatus, UserInfo
from kybern.api.authorization_v1 import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewStatus,
)
from kybern.client.allowance import Allowance
from kybern.kubelet import outset, process
from kybern.kubelet.access import Access
from kybern.kubelet.cgroups import Cgroups, Room
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.machine import Hardware
from kybern.kubelet.node_logs import NodeLogs
from kybern.kubelet.node_query import BadQuery, arguments, check, query_of
from kybern.kubelet.node_status import Reserved
from kybern.kubelet.runtime import Actual
from kybern.kubelet.server import Server
from kybern.kubelet.settings import Settings
from kybern.machinery.errors import Forbidden
from kybern.machinery.struct import replace as replaced
from tests.unit.kubelet.making import container, ended, pod, run, sandbox

POD = pod(container("c"), container("done"))


@dataclass
class Runtime:
    """Has one pod, whose container "c" runs."""

    said: list[tuple[Any, ...]] = field(default_factory=list)
    failure: RuntimeFailure | None = None
    code: int = 0

    async def actual(self, _uid: str) -> Actual:
        return Actual("u1", "web", "default", (sandbox(),), (run(container("c")), ended(container("done"))))

    async def execute(self, identity: str, command: tuple[str, ...], _seconds: float) -> tuple[int, bytes]:
        self.said.append((identity, command))
        return self.code, b"out"

    async def call(self, method: str, message: Any, timeout: float = 0) -> Any:  # the runtime's own
        self.said.append((method, message.container_id, message.location, timeout))
        if self.failure is not None:
            raise self.failure
        return message


class Agent:
    def __init__(self, runtime: Runtime) -> None:
        actual = Actual("u1", "web", "default", (sandbox(),), (run(container("c"), image="busybox:1"),))
        self.worker: Any = SimpleNamespace(pod=POD, status=POD.status, actual=actual)
        self.workers: Mapping[str, Any] = {"u1": (self.worker, None)}
        self.runtime = runtime

    def find(self, namespace: str, name: str) -> Any:
        return self.worker if (namespace, name) == ("default", "web") else None


class NoFigures:
    def routes(self, app: web.Application) -> None:
        app.router.add_get("/stats/summary", self._none)

    def about(self, app: web.Application) -> None:
        app.router.add_get("/configz", self._none)

    async def _none(self, _request: web.Request) -> web.Response:
        return web.Response(text="{}")


async def passing(_request: web.Request) -> None:
    return None


def server(tmp_path: Path, runtime: Runtime | None = None, **settings: Any) -> Server:
    found = runtime or Runtime()
    here: Any = SimpleNamespace(runtime=found)
    agent: Any = Agent(found)
    figures: Any = NoFigures()
    return Server(agent, here, figures, Settings(root_dir=str(tmp_path), **settings), {"log": lambda: None})


async def answers(app: web.Application, *asked: tuple[str, str]) -> list[tuple[int, str]]:
    found = []
    async with TestClient(TestServer(app)) as client:
        for method, path in asked:
            async with client.request(method, path, allow_redirects=False) as answer:
                found.append((answer.status, await answer.text()))
    return found


async def test_commands_run_and_their_output_is_the_answer(tmp_path: Path) -> None:
    runtime = Runtime()
    app = server(tmp_path, runtime).application(passing)

    good, other, missing, gone = await answers(
        app,
        ("POST", "/run/default/web/c?cmd=ls+/"),
        ("POST", "/run/default/web/u2/c?cmd=ls"),
        ("POST", "/run/default/none/c?cmd=ls"),
        ("POST", "/run/default/web/done?cmd=ls"),
    )

    assert good == (200, "out")
    assert runtime.said == [("c-0", ("ls", "/"))]
    assert other == (500, 'container not found ("c")')
    assert missing == (404, "pod does not exist")
    assert gone == (500, 'container not found ("done")')


async def test_a_command_that_fails_says_how(tmp_path: Path) -> None:
    app = server(tmp_path, Runtime(code=3)).application(passing)

    assert await answers(app, ("POST", "/run/default/web/c?cmd=a+b")) == [
        (500, "command 'a b' exited with 3: out")
    ]


async def test_checkpoints_are_the_runtimes(tmp_path: Path) -> None:
    runtime = Runtime()
    app = server(tmp_path, runtime).application(passing)

    (made, get, nobody, unknown, strange) = await answers(
        app,
        ("POST", "/checkpoint/default/web/c?timeout=1&timeout=7"),
        ("GET", "/checkpoint/default/web/c"),
        ("POST", "/checkpoint/default/none/c"),
        ("POST", "/checkpoint/default/web/nope"),
        ("POST", "/checkpoint/default/web/c?timeout=soon"),
    )
    runtime.failure = RuntimeFailure("rpc error: code = Unimplemented desc = unknown method", "UNIMPLEMENTED")
    (refused, negative, stopped) = await answers(
        server(tmp_path, runtime).application(passing),
        ("POST", "/checkpoint/default/web/c"),
        ("POST", "/checkpoint/default/web/c?timeout=-1"),
        ("POST", "/checkpoint/default/web/done"),
    )

    (_method, identity, location, patience), *_rest = runtime.said
    assert (identity, patience) == ("c-0", 7)
    assert location.startswith(f"{tmp_path}/checkpoints/checkpoint-web_default-c-")
    assert made == (200, f'{{"items":["{location}"]}}')
    assert (tmp_path / "checkpoints").stat().st_mode & 0o777 == 0o700
    assert get[0] == 405
    assert nobody == (404, "pod does not exist")
    assert unknown == (404, "container nope does not exist")
    assert strange == (404, "cannot parse value of timeout parameter")
    head = "checkpointing of default/web/c failed"
    assert refused == (500, f"{head} (rpc error: code = Unimplemented desc = unknown method)")
    assert negative == (500, f"{head} (CheckpointContainer requires the timeout value to be > 0)")
    assert stopped == (500, "checkpointing of default/web/done failed (container done not found)")


async def test_a_gate_takes_checkpoints_away(tmp_path: Path) -> None:
    app = server(tmp_path, gates={"ContainerCheckpoint": False}).application(passing)

    ((code, _text),) = await answers(app, ("POST", "/checkpoint/default/web/c"))

    assert code == 404


async def test_logs_that_cannot_be_had_say_why(tmp_path: Path) -> None:
    found = await answers(
        server(tmp_path).application(passing),
        ("GET", "/containerLogs/default/none/c"),
        ("GET", "/containerLogs/default/web/nope"),
        ("GET", "/containerLogs/default/web/c?tailLines=x"),
        ("GET", "/containerLogs/default/web/c?tailLines=-1"),
        ("GET", "/containerLogs/default/web/c?tail=x"),
        ("POST", "/containerLogs/default/web/c"),
        ("HEAD", "/containerLogs/default/web/c"),
    )

    assert found[:5] == [
        (404, 'pod "none" does not exist'),
        (404, 'container "nope" not found in pod "web"'),
        (400, '{"message": "Unable to decode query."}'),
        (422, '{"message": "Invalid request."}'),
        (400, '{"message": "Unable to decode query."}'),
    ]
    assert [code for code, _text in found[5:]] == [405, 405]


async def test_a_log_that_is_not_there_is_a_bad_request_as_upstream(tmp_path: Path) -> None:
    found = server(tmp_path)
    worker = found._agent.find("default", "web")
    assert worker is not None
    lost = replace(run(container("c")), log_path=f"{tmp_path}/0.log")
    worker.actual = replace(worker.actual, instances=(lost,))

    (answer,) = await answers(found.application(passing), ("GET", "/containerLogs/default/web/c"))

    path = f"{tmp_path}/0.log"
    text = f'failed to try resolving symlinks in path "{path}": lstat {path}: no such file or directory'
    assert answer == (400, text)


async def test_what_runs_is_told_with_its_images(tmp_path: Path) -> None:
    ((_code, text),) = await answers(server(tmp_path).application(passing), ("GET", "/runningpods/"))

    assert '"name":"c","image":"busybox:1"' in text


async def test_health_is_what_upstream_looks_at(tmp_path: Path) -> None:
    found = await answers(
        server(tmp_path).application(passing),
        ("GET", "/healthz/log"), ("GET", "/healthz/ping"), ("GET", "/livez"), ("GET", "/readyz"),
    )  # fmt: skip

    assert [code for code, _text in found] == [200, 200, 404, 404]


async def test_debugging_can_be_switched_off(tmp_path: Path) -> None:
    off = (405, "Debug endpoints are disabled.\n")
    paths = ("/run/a/b/c", "/exec/a/b/c", "/logs/", "/containerLogs/a/b/c", "/runningpods/", "/debug/pprof/")
    app = server(tmp_path, debugging=False).application(passing)

    *refused, pods, configz = await answers(
        app, *(("GET", path) for path in paths), ("GET", "/pods"), ("GET", "/configz")
    )

    assert refused == [off] * len(paths)
    assert (pods[0], configz[0]) == (200, 404)


async def test_the_read_only_port_has_pods_and_figures_and_no_more(tmp_path: Path) -> None:
    found = await answers(
        server(tmp_path).read_only(),
        ("GET", "/pods"), ("GET", "/stats/summary"), ("POST", "/run/default/web/c?cmd=ls"), ("GET", "/configz"),
    )  # fmt: skip

    assert [code for code, _text in found] == [200, 200, 405, 404]


async def test_single_parts_of_debugging_can_be_switched_off(tmp_path: Path) -> None:
    app = server(tmp_path, profiling=False, debug_flags=False, system_logs=False).application(passing)

    found = await answers(app, ("GET", "/debug/pprof/"), ("PUT", "/debug/flags/v"), ("GET", "/logs/"))

    assert found == [
        (405, "profiling endpoint is disabled.\n"),
        (405, "flags endpoint is disabled.\n"),
        (405, "logs endpoint is disabled.\n"),
    ]


async def test_the_verbosity_of_logs_is_set_while_it_runs(tmp_path: Path) -> None:
    before, handlers = logging.getLogger().level, logging.getLogger().handlers[:]
    app = server(tmp_path).application(passing)
    try:
        async with TestClient(TestServer(app)) as client:
            async with client.put("/debug/flags/v", data="4") as answer:
                assert await answer.text() == "successfully set klog.logging.verbosity to 4\n"
            assert logging.getLogger().level == logging.DEBUG
            async with client.put("/debug/flags/v", data="much") as answer:
                assert answer.status == 400
            async with client.get("/debug/flags/v") as answer:
                assert (answer.status, await answer.text()) == (406, "unsupported http method\n")
    finally:
        logging.getLogger().setLevel(before)
        logging.getLogger().handlers[:] = handlers


async def test_tasks_are_a_profile(tmp_path: Path) -> None:
    found = await answers(
        server(tmp_path).application(passing),
        ("GET", "/debug/pprof/goroutine"), ("GET", "/debug/pprof/cmdline"), ("GET", "/debug/pprof/heap"),
    )  # fmt: skip

    assert "test_tasks_are_a_profile" in found[0][1]
    assert (found[1][0], found[2]) == (200, (404, "Unknown profile\n"))


async def test_a_question_of_rights_that_fails_is_no_refusal() -> None:
    class Broken:
        async def create(self, _review: Any) -> Any:
            raise Forbidden("not you")

    client: Any = Broken()
    access = Access(client, "n1", webhook=True, tokens=False, anonymous=True)
    request: Any = SimpleNamespace(transport=None, headers={}, method="GET", path="/pods")

    answer = await access.guard(request)

    assert answer is not None
    assert answer.status == 500
    text = "Authorization error (user=system:anonymous, verb=get, resource=nodes, subresource=pods)"
    assert answer.text == text


async def test_all_that_is_known_of_who_asks_is_told_to_the_authorizer() -> None:
    extra = {"authentication.kubernetes.io/node-name": ("n2",)}
    reviews: list[SubjectAccessReview] = []

    class Reviewing:
        async def create(self, review: Any) -> Any:
            if isinstance(review, TokenReview):
                user = UserInfo(username="scraper", uid="7", groups=("g",), extra=extra)
                return replaced(review, status=TokenReviewStatus(authenticated=True, user=user))
            reviews.append(review)
            return replaced(review, status=SubjectAccessReviewStatus(allowed=True))

    client: Any = Reviewing()
    access = Access(client, "n1", webhook=True, tokens=True, anonymous=False)
    headers = {"Authorization": "Bearer t"}
    request: Any = SimpleNamespace(transport=None, headers=headers, method="POST", path="/checkpoint/a/b/c")

    assert await access.guard(request) is None
    assert await access.guard(request) is None

    (review,) = reviews
    spec = review.spec
    assert (spec.user, spec.uid, spec.groups, spec.extra) == ("scraper", "7", ("g",), extra)
    assert spec.resource_attributes == ResourceAttributes(
        verb="create", version="v1", resource="nodes", subresource="checkpoint", name="n1"
    )


# -- queries of the node's logs ----------------------------------------------------------------------------------------


def asked(**parameters: str) -> MultiDict[str]:
    return MultiDict(parameters)


def test_a_query_becomes_words_for_journalctl() -> None:
    query = query_of(
        asked(
            query="kubelet", tailLines="5", boot="-1", pattern="a.*b", sinceTime="2026-01-02T04:04:05+01:00"
        )
    )
    assert query is not None
    check(query)

    assert arguments(query, ["kubelet"]) == [
        "--utc", "--no-pager", "--output=short-precise", "--since=2026-01-02 03:04:05 UTC", "--pager-end", "--lines=5",
        "--unit=kubelet", "--grep=a.*b", "--boot=-1",
    ]  # fmt: skip
    assert query_of(asked()) is None


@pytest.mark.parametrize(
    ("parameters", "status", "complaint"),
    [
        ({"query": "  "}, 400, 'query: Invalid value: ["  "]: query cannot be empty'),
        ({"query": "a", "tailLines": "x"}, 400, 'parsing "x": invalid syntax'),
        ({"query": "a", "sinceTime": "yesterday"}, 400, "invalid time format"),
        ({"tailLines": "3"}, 406, "query: Required value: cannot be empty with options"),
        ({"query": "a;b"}, 406, "input contains unsupported characters"),
        ({"query": "--user"}, 0, ""),
        ({"query": "/a", "tailLines": "1"}, 406, "cannot specify file with options"),
        ({"query": "a", "boot": "1"}, 406, "must be less than 1"),
        ({"query": "a", "tailLines": "100001"}, 406, "must be between 0 and 100000, inclusive"),
        ({"query": "a", "pattern": "("}, 406, "error parsing regexp"),
        (
            {"query": "a", "sinceTime": "2026-01-02T00:00:00Z", "untilTime": "2026-01-01T00:00:00Z"},
            406,
            "must be after `sinceTime`",
        ),
    ],
)
def test_queries_are_checked(parameters: dict[str, str], status: int, complaint: str) -> None:
    def read() -> None:
        query = query_of(MultiDict(parameters))
        assert query is not None
        check(query)

    if not status:
        read()
        return
    with pytest.raises(BadQuery) as refused:
        read()
    assert refused.value.status == status
    assert complaint in str(refused.value)


class Journal:
    """Knows one unit; without ``there`` there is no journalctl."""

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.words: list[list[str]] = []

    async def __call__(self, words: list[str]) -> AsyncIterator[bytes]:
        if not self.there:
            raise FileNotFoundError("journalctl")
        self.words.append(words)
        yield b"kubelet.service\n" if words[0] == "--field" else b"a line\n"


def node_logs(root: Path, journal: Journal, *, queries: bool = True) -> web.Application:
    app = web.Application()
    NodeLogs(root, queries=queries, journal=journal).routes(app)
    return app


async def test_services_are_read_from_the_journal_or_from_their_files(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/other.log").write_text("from a file\n")
    journal = Journal()

    found = await answers(
        node_logs(tmp_path, journal),
        ("GET", "/logs?query=kubelet&tailLines=2"),
        ("GET", "/logs/?query=kubelet&query=other&query=none"),
        ("GET", "/logs/?query=other&tailLines=2"),
        ("GET", "/logs/?query=/other/other.log"),
        ("GET", "/logs/?query=/../etc/passwd"),
        ("GET", "/logs/other/?query=kubelet"),
        ("GET", "/logs/other/other.log"),
    )

    assert found[0] == (200, "a line\n")
    assert "--lines=2" in journal.words[1]
    assert found[1] == (200, "a line\nfrom a file\n\nlog not found for none\n")
    assert found[2][1] == (
        "\noptions present and query resolved to log files for [other]\ntry without specifying options\n"
    )
    assert found[3] == (200, "from a file\n")
    assert found[4][0] == 406
    assert found[5] == (406, "path not allowed in query mode\n")
    assert found[6] == (200, "from a file\n")


async def test_without_a_journal_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "kubelet.log").write_text("from a file\n")

    found = await answers(node_logs(tmp_path, Journal(there=False)), ("GET", "/logs/?query=kubelet"))

    assert found == [(200, "from a file\n")]


async def test_queries_are_not_answered_where_they_are_not_allowed(tmp_path: Path) -> None:
    journal = Journal()

    ((_code, text),) = await answers(
        node_logs(tmp_path, journal, queries=False), ("GET", "/logs/?query=kubelet")
    )

    assert "<pre>" in text
    assert journal.words == []


# -- what settings are for -----------------------------------------------------------------------------------------------


def test_an_allowance_refills_as_time_goes() -> None:
    allowance = Allowance(2, 3)

    assert [allowance.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert allowance.wait(100.0) == 0.5
    assert [allowance.take(100.5), allowance.take(100.5)] == [True, False]
    assert [allowance.take(1000.0) for _ in range(4)] == [True, True, True, False]
    assert all(Allowance(0, 0).take(0.0) for _ in range(1000))


def test_the_process_gets_its_score_and_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(resource, "setrlimit", lambda *words: given.append(words))

    process.prepare(Settings(oom_score=-7, most_files=100), tmp_path / "score")

    assert (tmp_path / "score").read_text() == "-7"
    assert given == [(resource.RLIMIT_NOFILE, (100, 100))]
    assert process.limits(1_000_000, 5000) == (5000, 5000)


def test_what_is_reserved_limits_the_cgroups_that_are_named() -> None:
    amounts = {"cpu": "500m", "memory": "1Gi", "pid": "100"}
    settings = Settings(
        enforce=("pods", "system-reserved", "kube-reserved-compressible"), system_cgroup="/system", kube_cgroup="/kube",
        system_reserved=amounts, kube_reserved=amounts,
    )  # fmt: skip

    assert list(outset.reservations(settings)) == [
        ("system", "/system", Room(500, 2**30, 100)),
        ("kube", "/kube", Room(500, 0)),
    ]
    assert list(outset.reservations(Settings(system_cgroup="/system"))) == []


@pytest.mark.parametrize(("enforce", "left"), [(("pods",), 3 << 30), (("none",), 4 << 30), ((), 4 << 30)])
def test_pods_together_are_always_limited(enforce: tuple[str, ...], left: int) -> None:
    hardware = Hardware(4, 4 << 30, 0)
    reserved = Reserved(({"memory": "1Gi"},))

    room = outset.together(Settings(enforce=enforce), hardware, reserved)

    assert (room.milli_cpu, room.memory) == (4000, left)


def test_what_is_limited_is_told(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "kube").mkdir()
    settings = Settings(enforce=("kube-reserved",), kube_cgroup="/kube", kube_reserved={"memory": "1Gi"})

    told = outset.enforce(settings, Cgroups(root=tmp_path))

    assert told == ("Updated limits on kube reserved cgroup /kube",)
    assert (tmp_path / "kube" / "memory.max").read_text() == str(1 << 30)


def test_a_reserved_cgroup_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "system").mkdir()
    cgroups = Cgroups(root=tmp_path)

    cgroups.reserve("/system", Room(500, 2**30))

    assert (tmp_path / "system/memory.max").read_text() == str(2**30)
    assert not (tmp_path / "system/pids.max").exists()
    with pytest.raises(FileNotFoundError, match="cgroup /none does not exist"):
        cgroups.reserve("/none", Room(500, 2**30))
