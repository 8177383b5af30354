"""The functions that expressions may call, a library a file."""
