"""Images: names, credentials, pulling, and taking away what nobody uses.

names ──> pull <── registries (imagePullSecrets), providers (programs that know credentials)
surplus: which images go when the disk is full, or when they were not used for long
"""
