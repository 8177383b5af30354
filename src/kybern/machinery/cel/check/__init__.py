"""From tree to typed tree: what every name stands for, which overloads a call may mean, of what type everything is."""
