"""Where each key of KubeletConfiguration and each flag goes: tables of names."""

from collections.abc import Mapping

# Where each key of the file goes; nested ones with a dot.
KEYS: Mapping[str, str] = {
    "staticPodPath": "static_pod_path",
    "address": "address",
    "port": "port",
    "tlsCertFile": "tls_cert",
    "tlsPrivateKeyFile": "tls_key",
    "tlsMinVersion": "tls_minimum",
    "rotateCertificates": "rotate_certificates",
    "authentication.x509.clientCAFile": "client_ca",
    "authentication.anonymous.enabled": "anonymous",
    "authentication.webhook.enabled": "webhook_authentication",
    "authorization.mode": "authorization",
    "registerWithTaints": "taints",
    "registerNode": "register_node",
    "healthzBindAddress": "healthz_address",
    "healthzPort": "healthz_port",
    "clusterDNS": "cluster_dns",
    "clusterDomain": "cluster_domain",
    "resolvConf": "resolv_conf",
    "maxPods": "max_pods",
    "cgroupRoot": "cgroup_root",
    "podsPerCore": "pods_per_core",
    "podPidsLimit": "pod_pids",
    "enforceNodeAllocatable": "enforce",
    "cpuCFSQuota": "cpu_cfs_quota",
    "cpuCFSQuotaPeriod": "cpu_cfs_period",
    "kubeReserved": "kube_reserved",
    "systemReserved": "system_reserved",
    "evictionHard": "eviction_hard",
    "evictionSoft": "eviction_soft",
    "evictionSoftGracePeriod": "eviction_grace",
    "evictionMinimumReclaim": "eviction_minimum",
    "evictionMaxPodGracePeriod": "eviction_most_grace",
    "evictionPressureTransitionPeriod": "eviction_transition",
    "mergeDefaultEvictionSettings": "eviction_merge",
    "localStorageCapacityIsolation": "storage_limits",
    "volumeStatsAggPeriod": "stats_fresh",
    "runtimeRequestTimeout": "request_timeout",
    "nodeStatusUpdateFrequency": "status_every",
    "nodeLeaseDurationSeconds": "lease_seconds",
    "serializeImagePulls": "serialize_pulls",
    "containerLogMaxSize": "log_max_size",
    "containerLogMaxFiles": "log_max_files",
    "containerLogMonitorInterval": "log_every",
    "imageGCHighThresholdPercent": "image_high",
    "imageGCLowThresholdPercent": "image_low",
    "imageMinimumGCAge": "image_min_age",
    "imageMaximumGCAge": "image_max_age",
    "maxParallelImagePulls": "parallel_pulls",
    "containerRuntimeEndpoint": "endpoint",
    "podLogsDir": "pod_logs",
    "providerID": "provider_id",
    "failSwapOn": "fail_swap_on",
    "allowedUnsafeSysctls": "unsafe_sysctls",
    "seccompDefault": "seccomp_default",
}
FLAGS: Mapping[str, str] = {
    "kubeconfig": "kubeconfig",
    "bootstrap-kubeconfig": "bootstrap_kubeconfig",
    "hostname-override": "hostname_override",
    "node-ip": "node_ip",
    "node-labels": "node_labels",
    "root-dir": "root_dir",
    "cert-dir": "cert_dir",
    "image-credential-provider-config": "credential_config",
    "image-credential-provider-bin-dir": "credential_programs",
    "container-runtime-endpoint": "endpoint",
    "pod-manifest-path": "static_pod_path",
    "register-with-taints": "taints",
    "register-node": "register_node",
    "address": "address",
    "port": "port",
    "tls-cert-file": "tls_cert",
    "tls-private-key-file": "tls_key",
    "tls-min-version": "tls_minimum",
    "client-ca-file": "client_ca",
    "anonymous-auth": "anonymous",
    "authentication-token-webhook": "webhook_authentication",
    "authorization-mode": "authorization",
    "healthz-bind-address": "healthz_address",
    "healthz-port": "healthz_port",
    "cluster-dns": "cluster_dns",
    "cluster-domain": "cluster_domain",
    "resolv-conf": "resolv_conf",
    "max-pods": "max_pods",
    "cgroup-root": "cgroup_root",
    "pods-per-core": "pods_per_core",
    "pod-max-pids": "pod_pids",
    "enforce-node-allocatable": "enforce",
    "kube-reserved": "kube_reserved",
    "system-reserved": "system_reserved",
    "eviction-hard": "eviction_hard",
    "eviction-soft": "eviction_soft",
    "eviction-soft-grace-period": "eviction_grace",
    "eviction-minimum-reclaim": "eviction_minimum",
    "eviction-max-pod-grace-period": "eviction_most_grace",
    "eviction-pressure-transition-period": "eviction_transition",
    "local-storage-capacity-isolation": "storage_limits",
    "volume-stats-agg-period": "stats_fresh",
    "runtime-request-timeout": "request_timeout",
    "node-status-update-frequency": "status_every",
    "rotate-certificates": "rotate_certificates",
    "provider-id": "provider_id",
    "fail-swap-on": "fail_swap_on",
    "pod-logs-dir": "pod_logs",
    "container-logs-dir": "container_logs",
    "allowed-unsafe-sysctls": "unsafe_sysctls",
    "seccomp-default": "seccomp_default",
}
# Settings of parts that do not exist here, or that are as upstream's defaults have them.
_ELSEWHERE = """
    syncFrequency fileCheckFrequency httpCheckFrequency staticPodURL staticPodURLHeader readOnlyPort
    tlsCipherSuites tlsCurvePreferences serverTLSBootstrap registryPullQPS registryBurst
    eventRecordQPS eventBurst enableDebuggingHandlers enableContentionProfiling oomScoreAdj
    streamingConnectionIdleTimeout nodeStatusReportFrequency kubeletCgroups
    systemCgroups cgroupsPerQOS cgroupDriver cpuManagerPolicy singleProcessOOMKill cpuManagerPolicyOptions
    cpuManagerReconcilePeriod memoryManagerPolicy topologyManagerPolicy topologyManagerScope
    topologyManagerPolicyOptions qosReserved hairpinMode podCIDR maxOpenFiles contentType kubeAPIQPS
    kubeAPIBurst
    enableControllerAttachDetach protectKernelDefaults makeIPTablesUtilChains iptablesMasqueradeBit iptablesDropBit
    featureGates memorySwap containerLogMaxWorkers configMapAndSecretChangeDetectionStrategy
    systemReservedCgroup kubeReservedCgroup showHiddenMetricsForVersion
    volumePluginDir kernelMemcgNotification logging enableSystemLogHandler enableSystemLogQuery
    shutdownGracePeriod shutdownGracePeriodCriticalPods shutdownGracePeriodByPodPriority crashLoopBackOff reservedMemory
    enableProfilingHandler enableDebugFlagsHandler memoryThrottlingFactor
    tracing imageServiceEndpoint reservedSystemCPUs imagePullCredentialsVerificationPolicy
    preloadedImagesVerificationAllowlist userNamespaces
    authentication.webhook.cacheTTL authorization.webhook.cacheAuthorizedTTL authorization.webhook.cacheUnauthorizedTTL
"""
ELSEWHERE = frozenset(_ELSEWHERE.split())
