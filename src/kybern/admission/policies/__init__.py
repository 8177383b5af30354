"""Admission policies: expressions that decide about writes, or change them."""
