"""A command inside the container: well when it ends with 0 in time."""

from kybern.api.core_v1 import ExecAction
from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.probes.target import Outcome, Target

_MOST = 10 * 1024


async def probe(action: ExecAction, target: Target) -> Outcome:
    try:
        code, output = await target.runtime.execute(target.instance, action.command, target.seconds)
    except RuntimeFailure as problem:
        if problem.code == "DEADLINE_EXCEEDED":
            words = " ".join(action.command)
            return Outcome(False, f'command timed out: "{words}" timed out after {target.seconds:g}s')
        return Outcome(None, str(problem))
    text = output[:_MOST].decode(errors="replace")
    return Outcome(code == 0, text)
