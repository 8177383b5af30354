"""What the scheduler and the control loops both know of device claims."""

FINALIZER = "resource.kubernetes.io/delete-protection"  # keeps an allocated claim from vanishing
MOST_USERS = 256  # of one claim (api/resource/v1 ResourceClaimReservedForMaxSize)
