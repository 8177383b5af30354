"""Who asks, as others say: webhooks that review tokens, and issuers of identity tokens."""
