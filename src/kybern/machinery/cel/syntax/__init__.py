"""From text to tree: tokens, grammar, macros."""
