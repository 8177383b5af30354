"""A cluster beside the CIS Kubernetes Benchmark v1.12: what is asked (``questions``), and what applies (``controls``).

Machines are asked once, by one script, and the API for lists of objects; what they say is judged by pure functions. A
control more is a line in ``controls``. What the benchmark wants and we do otherwise is explained in that line, and in
docs/adr/0031: an explanation holds only while its own condition does.
"""
