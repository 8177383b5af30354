"""Identity tokens of OpenID Connect issuers: what they say, and whether one of an issuer's keys signed them. Pure."""
