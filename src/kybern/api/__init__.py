"""The kinds of the API: generated types, and one file a kind for its rules, defaults and printed columns."""
