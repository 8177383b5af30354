"""What happens to a write between decoding and storing."""
