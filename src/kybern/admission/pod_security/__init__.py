"""The Pod Security Standards: what pods of the levels baseline and restricted may do. Pure."""
