"""Requests that are handed on to another server: pods, services and nodes behind a proxy, and aggregated servers."""
