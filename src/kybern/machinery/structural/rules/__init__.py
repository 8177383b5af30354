"""The rules of custom kinds: x-kubernetes-validations, expressions over a value and what it was before.

    definition ── check ──> causes (texts, paths, compilation, costs)
    schema ── build ──> Validator ── validate (new, old) ──> causes and warnings

A definition without rules has no validator, and costs nothing.
"""
