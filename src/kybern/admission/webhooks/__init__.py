"""Admission webhooks: who is called, with what, and what an answer means."""
