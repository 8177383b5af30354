"""From typed tree to Python functions, one for each node, which call each other and count what that costs.

    plan: which function for which node        reach: names, fields, places        calls: functions and operators
    loops: comprehensions                      kinds: overloads by what values are  literals: lists, maps, objects

A step takes the frame and gives a value or raises EvaluationError. Costs are those of cel-go's tracker, node by node and
also where something fails: ``||`` goes on after an error, and what was spent is spent.
"""
