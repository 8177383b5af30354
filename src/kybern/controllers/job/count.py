"""Count every pod of a job once; pure.

Theory of operation. A pod bears a finalizer until it is counted, so that none is gone before. A pod that ended is first
written into ``uncountedTerminatedPods`` (an indexed one that succeeded: into ``completedIndexes``, a set); then its
finalizer is taken away; then its uid is taken out and the counter goes up, in one write. Whatever ends the controller in
between, the next round goes on from what is written. With backoffLimitPerIndex the last failed pod of an index keeps its
finalizer until the next pod of the index is there, for it alone knows how often the index failed.

What a job ends by its own wish is no failure: a suspended job's pods, one too many, those that a success makes needless.
Such a pod loses the finalizer first, and then is ended. Of a job that fails every pod has failed that has not succeeded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from kybern.api.batch_v1 import Job, UncountedTerminatedPods
from kybern.api.core_v1 import Pod
from kybern.controllers.job.indexes import failures_of, ignored_of, index_of, parsed
from kybern.controllers.job.policy import Verdict, verdict
from kybern.loop.pods import is_active, is_ready, is_terminal

FINALIZER = "batch.kubernetes.io/job-tracking"
_AT_ONCE = 500


def is_indexed(job: Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def waits_for_end(job: Job) -> bool:
    """Whether a pod is replaced only when it has really ended, and not when it is going."""
    return job.spec.pod_replacement_policy == "Failed" or job.spec.pod_failure_policy is not None


def is_tracked(pod: Pod) -> bool:
    return FINALIZER in pod.metadata.finalizers


def has_failed(job: Job, pod: Pod) -> bool:
    if pod.status.phase == "Failed":
        return True
    going = pod.metadata.deletion_timestamp is not None
    return going and not waits_for_end(job) and pod.status.phase != "Succeeded"


@dataclass(frozen=True)
class Tally:
    """The pods of a job, and what they add to what its status says; ``end`` is the condition that it ends with, if any."""

    job: Job
    pods: tuple[Pod, ...]
    end: str = ""

    @cached_property
    def active(self) -> tuple[Pod, ...]:
        return tuple(filter(is_active, self.pods))

    @property
    def ready(self) -> int:
        return sum(map(is_ready, self.active))

    @cached_property
    def terminating(self) -> tuple[Pod, ...]:
        return tuple(
            pod for pod in self.pods if pod.metadata.deletion_timestamp is not None and not is_terminal(pod)
        )

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """By uid, of the pods that are still to be counted."""
        return {pod.metadata.uid: verdict(self.job, pod) for pod in self.pods if is_tracked(pod)}

    @cached_property
    def _noted(self) -> UncountedTerminatedPods:
        return self.job.status.uncounted_terminated_pods or UncountedTerminatedPods()

    def _open(self, uids: Iterable[str]) -> tuple[str, ...]:
        """Those whose pods still bear the finalizer."""
        tracked = self.verdicts
        return tuple(uid for uid in uids if uid in tracked)

    @cached_property
    def new_succeeded(self) -> tuple[str, ...]:
        """Pods that are to be noted; those of an indexed job are in ``indexes``."""
        if is_indexed(self.job):
            return ()
        return tuple(
            pod.metadata.uid
            for pod in self.pods
            if is_tracked(pod)
            and pod.status.phase == "Succeeded"
            and pod.metadata.uid not in self._noted.succeeded
        )

    @cached_property
    def new_failed(self) -> tuple[str, ...]:
        return tuple(
            pod.metadata.uid
            for pod in self.pods
            if is_tracked(pod)
            and self._is_failure(pod)
            and self._has_place(pod)
            and pod.metadata.uid not in self._noted.failed
            and self.verdicts[pod.metadata.uid].action != "Ignore"
        )

    def _is_failure(self, pod: Pod) -> bool:
        failing = self.end == "FailureTarget" and pod.status.phase != "Succeeded"
        return failing or has_failed(self.job, pod)

    def _has_place(self, pod: Pod) -> bool:
        """Whether the job has the pod's index: of another one, which it had before it was made smaller, nothing counts."""
        if not is_indexed(self.job):
            return True
        index = index_of(pod)
        return index is not None and index < (self.job.spec.completions or 0)

    @cached_property
    def uncounted(self) -> UncountedTerminatedPods:
        """What is to be written as noted; a bounded number at once."""
        succeeded = self._open(self._noted.succeeded) + self.new_succeeded
        failed = self._open(self._noted.failed) + self.new_failed
        succeeded = succeeded[:_AT_ONCE]
        return UncountedTerminatedPods(
            succeeded=succeeded, failed=failed[: max(_AT_ONCE - len(succeeded), 0)]
        )

    @cached_property
    def counted_succeeded(self) -> int:
        if is_indexed(self.job):
            return len(self.indexes)
        done = len(self._noted.succeeded) - len(self._open(self._noted.succeeded))
        return (self.job.status.succeeded or 0) + done

    @cached_property
    def counted_failed(self) -> int:
        done = len(self._noted.failed) - len(self._open(self._noted.failed))
        return (self.job.status.failed or 0) + done

    @property
    def succeeded(self) -> int:
        """With those that are not counted yet."""
        if is_indexed(self.job):
            return len(self.indexes)
        noted = len(self._noted.succeeded) + len(self.new_succeeded)
        return (self.job.status.succeeded or 0) + noted

    @property
    def failed(self) -> int:
        noted = len(self._noted.failed) + len(self.new_failed)
        return (self.job.status.failed or 0) + noted

    @cached_property
    def indexes(self) -> frozenset[int]:
        """The indexes that succeeded."""
        if not is_indexed(self.job):
            return frozenset()
        completions = self.job.spec.completions or 0
        found = parsed(self.job.status.completed_indexes, completions)
        new = {index_of(pod) for pod in self.pods if is_tracked(pod) and pod.status.phase == "Succeeded"}
        return found | {one for one in new if one is not None and one < completions}

    @cached_property
    def failed_indexes(self) -> frozenset[int]:
        limit, completions = self.job.spec.backoff_limit_per_index, self.job.spec.completions or 0
        if limit is None:
            return frozenset()
        found = set(parsed(self.job.status.failed_indexes, completions))
        for pod in self.pods:
            index = index_of(pod)
            if index is None or index >= completions or not is_tracked(pod) or not has_failed(self.job, pod):
                continue
            action = self.verdicts[pod.metadata.uid].action
            if action == "FailIndex" or (action != "Ignore" and failures_of(pod) >= limit):
                found.add(index)
        return frozenset(found) - self.indexes

    @cached_property
    def last_failed(self) -> dict[int, Pod]:
        """By index, the failed pod that was made last, when the index is to be tried again."""
        found: dict[int, Pod] = {}
        if self.job.spec.backoff_limit_per_index is None:
            return found
        later = sorted(self.pods, key=_attempt)
        for pod in later:
            index = index_of(pod)
            if index is not None and index not in self.indexes | self.failed_indexes:
                if is_tracked(pod) and has_failed(self.job, pod):
                    found[index] = pod
                elif index in found and _attempt(pod) > _attempt(found[index]):
                    del found[index]
        return found

    def releasable(self) -> Iterable[Pod]:
        """The pods whose finalizer may go once ``uncounted`` is written."""
        kept = () if self.end else {pod.metadata.uid for pod in self.last_failed.values()}
        noted = {*self.uncounted.succeeded, *self.uncounted.failed}
        for pod in self.pods:
            uid = pod.metadata.uid
            if is_tracked(pod) and uid not in kept and (uid in noted or self._counts_for_nothing(pod)):
                yield pod

    def _counts_for_nothing(self, pod: Pod) -> bool:
        """Whether a pod that is not noted may go: its index says enough, or its failure means nothing."""
        if pod.status.phase == "Succeeded":
            return is_indexed(self.job)
        if not self._is_failure(pod):
            return self.end == "SuccessCriteriaMet"
        return not self._has_place(pod) or self.verdicts[pod.metadata.uid].action == "Ignore"


def _attempt(pod: Pod) -> int:
    return failures_of(pod) + ignored_of(pod)
