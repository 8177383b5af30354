"""What every kind shares: meta, errors, schema, selectors, quantities, patches. Knows no kind."""
