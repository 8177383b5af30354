"""What a Prometheus and a Grafana need to watch a cluster: scrape configuration, alerts, a dashboard, rights."""
