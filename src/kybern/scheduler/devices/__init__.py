"""Which devices a claim gets on a node (dynamic resource allocation). Pure.

    slices ── pools ──> devices of a node ── selectors (CEL) ──> candidates ── allocate (search) ──> AllocationResult
    claims ── taken ──> devices, counters and capacity that are taken

The plugin is ``plugins/dynamic_resources.py``; the claims' other life is the resourceclaim-controller's. Rules: KEP-4381
(structured parameters), KEP-4816 (alternatives), KEP-4815 (shared counters), KEP-5075 (consumable capacity), KEP-5055
(taints), KEP-5004 (extended resources), KEP-5007 (conditions before binding).
"""
