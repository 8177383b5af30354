"""A bundle: a directory with every artefact that a deploy and the operator's own setup need, for places without a network.

``lock`` says what is in it (pure), ``contents`` what has to be in it for a topology (pure), ``making`` brings the one
to the other, with ``debian``, ``wheels`` and ``containers`` for what comes from where. ``opened`` is what a deploy
takes things out of: nothing leaves it unless its checksum is the lock's.
"""
