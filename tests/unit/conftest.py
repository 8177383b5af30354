"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A shared machine is slow now and then, which says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
