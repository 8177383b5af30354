"""Compiles rules that are written in Python: what becomes of an expression is not what these tests are about.

A text begins with ``text:``, an integer with ``int:``; ``cost:N:`` says what an evaluation costs, ``most:N:`` what it may.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from kybern.machinery.cel import types
from kybern.machinery.cel.schemas import Declared
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import BudgetExceeded, EvaluationError
from kybern.machinery.structural.rules.compiled import CompilationError, Outcome

_MARK = re.compile(r"(text|int|cost:\d+|most:\d+):")


@dataclass(frozen=True)
class PythonProgram:
    code: CodeType
    result: Type
    most: int
    cost: int

    def uses(self, variable: str) -> bool:
        return variable in self.code.co_names

    def run(self, variables: Mapping[str, Any], limit: int) -> Outcome:
        if self.cost > limit:
            return Outcome(None, self.cost, BudgetExceeded("operation cancelled: actual cost limit exceeded"))
        try:
            return Outcome(eval(self.code, {}, dict(variables)), self.cost)
        except KeyError as problem:
            return Outcome(None, self.cost, EvaluationError(f"no such key: {problem.args[0]}"))
        except TypeError:
            return Outcome(None, self.cost, EvaluationError("no such overload"))


def compile_python(source: str, variables: Mapping[str, Type], _declared: Declared) -> PythonProgram:
    result, most, cost = types.BOOL, 1, 1
    while mark := _MARK.match(source):
        source = source[mark.end() :]
        if mark[1] in ("text", "int"):
            result = types.STRING if mark[1] == "text" else types.INT
        elif mark[1].startswith("cost:"):
            cost = int(mark[1][5:])
        else:
            most = int(mark[1][5:])
    try:
        code = compile(source.strip(), "<rule>", "eval")
    except SyntaxError as problem:
        raise CompilationError(f"ERROR: <input>:1:{problem.offset}") from None
    unknown = set(code.co_names) - set(variables) - {"len", "present", "value"}
    if unknown:
        raise CompilationError(f"ERROR: <input>:1:1: undeclared reference to '{min(unknown)}'")
    return PythonProgram(code, result, most, cost)
