"""kybern-metrics: what nodes and pods use at this moment, as metrics.k8s.io/v1beta1 behind the API server.

    kubelets' /metrics/resource ─> readings ─> usage ─> answers ─> serve
                 (scrape)          (parse)    (rates)  (objects)   (HTTP, for front proxies only)

`kubectl top` and autoscalers read it. Nothing is stored: two readings of every node are kept in memory.
"""
