"""What a KubeSchedulerConfiguration comes to, and the words for what is wrong with one."""

from typing import Any

import pytest
import yaml

from kybern.scheduler.config import settings
from kybern.scheduler.framework import BadArgs, Plugin
from kybern.scheduler.plugins import PLUGINS
from kybern.scheduler.profile import Profile
from kybern.scheduler.queue import Delays

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
ODD = Plugin("Odd", refuse=lambda _pod, _info, _cluster: (), rate=lambda _pod, _info, _cluster: 1)
KNOWN = {one.name: one for one in (*PLUGINS, ODD)}
FILTERS = [one.name for one in Profile.of(PLUGINS).at["filter"]]
SCORES = [one.name for one in Profile.of(PLUGINS).at["score"]]


def read(text: str) -> dict[str, Any]:
    return settings(HEAD | (yaml.safe_load(text) or {}), KNOWN)


def profile(text: str) -> Profile:
    found: Profile = read(f"profiles:\n- plugins: {text}")["profiles"]["default-scheduler"]
    return found


def names(found: Profile, point: str) -> list[str]:
    return [one.name for one in found.at[point]]


def wrong(text: str) -> list[str]:
    with pytest.raises(BadArgs) as problem:
        read(text)
    return [cause.line() for cause in problem.value.causes]


def test_an_empty_file_is_the_default_profile() -> None:
    found = read("{}")

    assert list(found["profiles"]) == ["default-scheduler"]
    assert found["profiles"]["default-scheduler"].at == Profile.of(PLUGINS).at
    assert found["profiles"]["default-scheduler"].weights["TaintToleration"] == 3
    assert found["delays"] == Delays(1, 10)
    assert found["extenders"] == ()


def test_profiles_differ_by_name() -> None:
    found = read("""
        profiles:
        - schedulerName: default-scheduler
        - schedulerName: packed
          percentageOfNodesToScore: 30
          plugins: {score: {disabled: [{name: "*"}], enabled: [{name: NodeResourcesFit, weight: 7}]}}
        percentageOfNodesToScore: 50
        podInitialBackoffSeconds: 2
        podMaxBackoffSeconds: 20
        parallelism: 4
    """)

    packed = found["profiles"]["packed"]
    assert names(packed, "score") == ["NodeResourcesFit"]
    assert packed.weights["NodeResourcesFit"] == 7
    assert [one.percentage for one in found["profiles"].values()] == [50, 30]
    assert names(found["profiles"]["default-scheduler"], "score") == SCORES
    assert found["delays"] == Delays(2, 20)


def test_a_plugin_enabled_at_a_point_comes_first_there_when_multi_point_has_it_too() -> None:
    found = profile("{filter: {enabled: [{name: NodePorts}, {name: Odd}, {name: NodeName}]}}")

    rest = [name for name in FILTERS if name not in ("NodePorts", "NodeName")]
    assert names(found, "filter") == ["NodePorts", "NodeName", *rest, "Odd"]
    assert names(found, "score") == SCORES


def test_a_plugin_of_multi_point_is_everywhere_and_last() -> None:
    found = profile("{multiPoint: {enabled: [{name: Odd, weight: 4}]}}")

    assert names(found, "filter") == [*FILTERS, "Odd"]
    assert names(found, "score") == [*SCORES, "Odd"]
    assert found.weights["Odd"] == 4


def test_a_default_plugin_listed_again_keeps_its_place_and_takes_the_weight() -> None:
    found = profile("{multiPoint: {enabled: [{name: NodeAffinity, weight: 9}, {name: TaintToleration}]}}")

    assert names(found, "score") == SCORES
    assert (found.weights["NodeAffinity"], found.weights["TaintToleration"]) == (9, 1)


def test_the_weight_at_the_point_wins_over_that_of_multi_point() -> None:
    found = profile(
        "{multiPoint: {enabled: [{name: Odd, weight: 4}]}, score: {enabled: [{name: Odd, weight: 6}]}}"
    )

    assert found.weights["Odd"] == 6
    assert names(found, "score") == ["Odd", *SCORES]


def test_what_is_disabled_at_a_point_stays_at_the_others() -> None:
    found = profile("{score: {disabled: [{name: NodeAffinity}]}}")

    assert "NodeAffinity" not in names(found, "score")
    assert "NodeAffinity" in names(found, "filter")


def test_enabled_wins_over_disabled() -> None:
    found = profile(
        '{multiPoint: {disabled: [{name: "*"}], enabled: [{name: PrioritySort}, {name: DefaultBinder}, {name: Odd}]}}'
    )

    assert {point: [one.name for one in listed] for point, listed in found.at.items() if listed} == {
        "queueSort": ["PrioritySort"], "bind": ["DefaultBinder"], "filter": ["Odd"], "score": ["Odd"],
    }  # fmt: skip


def test_upstream_s_plugins_may_be_named_where_ours_need_no_hook() -> None:
    found = profile("{preFilter: {enabled: [{name: NodePorts}]}}")

    assert names(found, "filter") == FILTERS
    assert names(found, "preFilter") == names(Profile.of(PLUGINS), "preFilter")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("colour: red", 'unknown field "colour"'),
        ("profiles: [{name: x}]", 'unknown field "profiles[0].name"'),
        ("profiles: [{plugins: {filters: {}}}]", 'unknown field "profiles[0].plugins.filters"'),
        ("leaderElection: {lease: 3s}", 'unknown field "leaderElection.lease"'),
        ("clientConnection: {server: x}", 'unknown field "clientConnection.server"'),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: Strange}]}}}]",
            'profiles[0].plugins.filter.enabled[0]: FilterPlugin "Strange" does not exist',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: ImageLocality}]}}}]",
            'profiles[0].plugins.filter.enabled[0]: plugin "ImageLocality" does not extend FilterPlugin plugin',
        ),
        (
            "profiles: [{plugins: {bind: {enabled: [{name: Odd}]}}}]",
            'profiles[0].plugins.bind.enabled[0]: plugin "Odd" does not extend BindPlugin plugin',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: Odd}, {name: Odd}]}}}]",
            'plugin "Odd" already registered',
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: EBSLimits}]}}}]",
            (
                'profiles[0].plugins.filter.enabled[0]: Invalid value: "EBSLimits": was invalid in version '
                '"kubescheduler.config.k8s.io/v1" (KubeSchedulerConfiguration is version "kubescheduler.config.k8s.io/v1")'
            ),
        ),
        (
            "profiles: [{plugins: {queueSort: {disabled: [{name: PrioritySort}]}}}]",
            (
                "profiles[0].plugins.queueSort: only one queue sort plugin required for profile with scheduler name "
                '"default-scheduler", but got 0'
            ),
        ),
        (
            "profiles: [{schedulerName: x, plugins: {bind: {disabled: [{name: '*'}]}}}]",
            'profiles[0].plugins.bind: at least one bind plugin is needed for profile with scheduler name "x"',
        ),
        (
            "profiles: [{schedulerName: x}, {schedulerName: x}]",
            "profiles[1].schedulerName: Duplicate value: profiles[0]",
        ),
        ("profiles: [{schedulerName: ''}]", "profiles[0].schedulerName: Required value"),
        ("parallelism: 0", "parallelism: Invalid value: 0: should be an integer value greater than zero"),
        (
            "percentageOfNodesToScore: 101",
            "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
        ),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
        (
            "podMaxBackoffSeconds: 0",
            "podMaxBackoffSeconds: Invalid value: 0: must be greater than or equal to PodInitialBackoffSeconds",
        ),
        (
            "leaderElection: {resourceLock: endpoints}",
            'leaderElection.resourceLock: Invalid value: "endpoints": resourceLock value must be "leases"',
        ),
        (
            "profiles: [{pluginConfig: [{name: NodePorts}, {name: NodePorts}]}]",
            'profiles[0].pluginConfig[1]: Duplicate value: "NodePorts"',
        ),
        (
            "profiles: [{pluginConfig: [{name: Strange, args: {}}]}]",
            'profiles[0].pluginConfig[0]: plugin "Strange" does not exist',
        ),
        (
            "profiles: [{pluginConfig: [{name: NodePorts, args: {some: 1}}]}]",
            'unknown field "profiles[0].pluginConfig[0].args.some"',
        ),
        (
            "extenders: [{urlPrefix: 'http://x', prioritizeVerb: p}]",
            "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
        ),
        (
            "extenders: [{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}]",
            'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind',
        ),
        (
            "extenders: [{urlPrefix: 'http://x', managedResources: [{name: cpu}]}]",
            'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name',
        ),
        (
            "extenders: [{urlPrefix: 'http://x', httpTimeout: soon}]",
            'extenders[0].httpTimeout: Invalid value: "soon": "soon" is no duration such as 10s or 1m30s',
        ),
        ("extenders: [{url: 'http://x'}]", 'unknown field "extenders[0].url"'),
    ],
)
def test_what_is_wrong_is_named(text: str, line: str) -> None:
    assert line in wrong(text)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(wrong("{parallelism: -1, colour: red, profiles: [{size: 1}]}")) == 3


def test_all_profiles_share_the_queue() -> None:
    other = Plugin("Sorted", sort=lambda facts, since: (since, facts.uid))
    text = """
        profiles:
        - schedulerName: a
        - schedulerName: b
          plugins: {queueSort: {disabled: [{name: "*"}], enabled: [{name: Sorted}]}}
    """

    with pytest.raises(BadArgs, match="must be the same for all profiles"):
        settings(HEAD | yaml.safe_load(text), KNOWN | {"Sorted": other})


def test_an_extender_is_read() -> None:
    (found,) = read("""
        extenders:
        - urlPrefix: http://127.0.0.1:8888/sched
          filterVerb: filter
          prioritizeVerb: prioritize
          weight: 5
          httpTimeout: 1500ms
          nodeCacheCapable: true
          ignorable: true
          managedResources: [{name: example.com/gpu, ignoredByScheduler: true}, {name: example.com/fpga}]
    """)["extenders"]

    assert (found.url, found.filter_verb, found.weight, found.timeout) == (
        "http://127.0.0.1:8888/sched", "filter", 5, 1.5,
    )  # fmt: skip
    assert (found.knows_nodes, found.ignorable, found.tls) == (True, True, None)
    assert found.resources == {"example.com/gpu", "example.com/fpga"}
    assert found.ignored == {"example.com/gpu"}
