"""The Common Expression Language as Kubernetes v1.36 speaks it: parse, check, estimate and count cost, evaluate.

    source ── parse ──> tree ── check (environment) ──> typed tree ── plan ──> Program ── evaluate (variables, budget)

Everything here is pure. What a program may see are the variables that it is given; what it may spend is its budget.
The specification is https://github.com/google/cel-spec; messages, costs and libraries follow cel-go and
k8s.io/apiserver/pkg/cel, whose texts clients compare.

    environment = Environment({"self": object_of("Scale", {"replicas": INT})})
    program = environment.compile("self.replicas <= 5")     # CompileError: .issues, and cel-go's text of them
    program.result                                          # BOOL
    program.estimate(sizes)                                 # Range: what it costs at the least and at the most
    value, cost = program.evaluate({"self": {"replicas": 3}}, budget)   # EvaluationError (.cost), BudgetExceeded

Compile once, evaluate often: a program is a function made of functions. Values are described in ``values``, types in
``types``, functions of libraries in ``functions``.
"""

from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.program import BUDGET, Program
from kybern.machinery.cel.source import CompileError, Issue
from kybern.machinery.cel.values import BudgetExceeded, EvaluationError

__all__ = ["BUDGET", "BudgetExceeded", "CompileError", "Environment", "EvaluationError", "Issue", "Program"]
