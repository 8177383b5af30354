"""The verbs of the API, one file each, the same for every kind."""
