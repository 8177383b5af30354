"""The vectors say what the plain forms say, whatever happened to the table before."""

import numpy as np
import pytest
from hypothesis import given, settings

from kybern.api.core_v1 import Pod
from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Plugin
from kybern.scheduler.plugins import PLUGINS
from tests.unit.scheduler.generated import CLUSTERS, PODS, Made
from tests.unit.scheduler.plainly import SCORES

FILTERS = [pytest.param(plugin, id=plugin.name) for plugin in PLUGINS if plugin.filter is not None]


@pytest.mark.parametrize("plugin", FILTERS)
@settings(max_examples=100, deadline=None)
@given(CLUSTERS, PODS)
def test_a_filter_refuses_what_its_plain_form_refuses(plugin: Plugin, made: Made, wanted: Pod) -> None:
    assert plugin.filter is not None
    assert plugin.refuse is not None, "a filter needs its plain form"

    refusals = list(plugin.filter(PodFacts.of(wanted), made.table))

    for info in made.cluster.nodes:
        column = made.table.index[info.node.metadata.name]
        vector = sorted(refusal.reason for refusal in refusals if refusal.nodes[column])
        assert vector == sorted(plugin.refuse(wanted, info, made.cluster))


@pytest.mark.parametrize("plugin", [pytest.param(one, id=one.name) for one in PLUGINS if one.name in SCORES])
@settings(max_examples=100, deadline=None)
@given(CLUSTERS, PODS)
def test_a_score_is_that_of_its_plain_form(plugin: Plugin, made: Made, wanted: Pod) -> None:
    assert plugin.score is not None
    left = made.table.valid & ~made.table.unschedulable
    columns = np.flatnonzero(left)
    infos = [info for info in made.cluster.nodes if not info.node.spec.unschedulable]

    found = plugin.score(PodFacts.of(wanted), made.table, left)

    plain = SCORES[plugin.name](wanted, infos, made.cluster)
    if found is None or not len(columns):
        assert plain is None or not infos
        return
    scores = plugin.normalize(found[columns]) if plugin.normalize else found[columns]
    vector = {made.table.names[column]: int(number) for column, number in zip(columns, scores, strict=True)}
    assert vector == plain
