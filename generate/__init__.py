"""Generators of committed files: run by developers, checked by a test."""
