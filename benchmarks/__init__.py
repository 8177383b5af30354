"""What operations cost, measured. One file a subject, each with its BENCHMARKS; ``__main__`` runs them.

The measure is processor time: user and system time of the process that does the work. It is steady from run to run, also
on a machine that is busy with other things, where times by the clock are not.
"""
