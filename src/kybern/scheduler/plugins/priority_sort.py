"""Pods of higher priority are tried first; among equals, those that came first."""

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import Plugin


def sort(facts: PodFacts, since: float) -> tuple[int, float]:
    return -facts.priority, since


PLUGIN = Plugin("PrioritySort", sort=sort)
