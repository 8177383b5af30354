"""What must be true before anything is touched: of this host (``host``), and of machines that are there already.

A machine is asked once, by one script (``questions``), and what it says is judged by pure functions, one file for each
group of them. ``checks.CHECKS`` lists them all: a check more is a function and a line there, and a line in ``questions``
when it needs to know something new.
"""
