"""What requests are allowed, as files say and as webhooks answer: the AuthorizationConfiguration and what it leads to."""
