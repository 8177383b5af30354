"""Server-side apply: who manages which field of an object, and merging what several of them want. Pure.

``sets`` is the algebra of field sets, ``types`` and ``lists`` what a schema says of them, ``managers`` the entries of
``metadata.managedFields``, ``update`` what a plain write does to them, ``merge`` what an apply does to object and entries.
"""
