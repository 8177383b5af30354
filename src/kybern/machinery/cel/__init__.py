"""The Common Expression Language as Kubernetes v1.36 speaks it: parse, check, estimate and count cost, evaluate.

    source ── parse ──> tree ── check (environment) ──> typed tree ── plan ──> Program ── evaluate (variables, budget)

Everything here is pure. What a program may see are the variables that it is given; what it may spend is its budget.
The specification is https://github.com/google/cel-spec; messages, costs and libraries follow cel-go and
k8s.io/apiserver/pkg/cel, whose texts clients compare.
"""
