"""Which requests run at once, and which wait for others: API Priority and Fairness (KEP-1040)."""
