"""Kinds that users bring: from a definition to routes, storage, checks, tables and documents."""
