"""Aggregation: groups of the API that other servers answer for, and what clients see of them as one API."""
