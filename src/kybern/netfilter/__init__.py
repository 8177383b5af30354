"""The programs that write the kernel's rules, and how one sees that somebody changed them."""
