"""What the node, its pods and their containers use: measured once (``measure``), told in several forms.

CRI stats ─┐
/proc      ├─> measure.take() -> NodeUse ─┬─> summary     /stats/summary
file trees ┘                              ├─> prometheus  /metrics/resource, /metrics/cadvisor
└─> eviction    what to give up when the node is short
"""
