"""The fields of pods within upstream, in their order; see ``within`` for how they are written."""

from collections.abc import Mapping

_LOCAL = "Name"
_CONTAINER = (
    "Name Image Command? Args? WorkingDir Ports:[]ContainerPort EnvFrom:[]EnvFromSource Env:[]EnvVar "
    "Resources:ResourceRequirements ResizePolicy:[]ContainerResizePolicy RestartPolicy? RestartPolicyRules? "
    "VolumeMounts:[]VolumeMount VolumeDevices:[]VolumeDevice LivenessProbe:*Probe ReadinessProbe:*Probe "
    "StartupProbe:*Probe Lifecycle:*Lifecycle TerminationMessagePath TerminationMessagePolicy ImagePullPolicy "
    "SecurityContext:*SecurityContext Stdin:bool StdinOnce:bool TTY:bool"
)
_DURING = "DuringSchedulingIgnoredDuringExecution"
_HANDLER = "Exec:*ExecAction HTTPGet:*HTTPGetAction TCPSocket:*TCPSocketAction"
_PROFILE = "Type LocalhostProfile?"

TYPES: Mapping[str, str] = {
    "Affinity": "NodeAffinity:*NodeAffinity PodAffinity:*PodAffinity PodAntiAffinity:*PodAffinity",
    "AzureDiskVolumeSource": "DiskName DataDiskURI=diskURI CachingMode? FSType? ReadOnly? Kind?",
    "AzureFileVolumeSource": "SecretName ShareName ReadOnly:bool",
    "CSIVolumeSource": "Driver ReadOnly? FSType? VolumeAttributes? NodePublishSecretRef:*LocalObjectReference",
    "Capabilities": "Add? Drop?",
    "CephFSVolumeSource": "Monitors? Path User SecretFile SecretRef:*LocalObjectReference ReadOnly:bool",
    "ConfigMapProjection": f"{_LOCAL} Items:[]KeyToPath Optional?",
    "ConfigMapVolumeSource": f"{_LOCAL} Items:[]KeyToPath DefaultMode? Optional?",
    "Container": _CONTAINER,
    "ContainerPort": "Name HostPort:int ContainerPort:int Protocol HostIP",
    "ContainerResizePolicy": "ResourceName RestartPolicy",
    "DownwardAPIProjection": "Items:[]DownwardAPIVolumeFile",
    "DownwardAPIVolumeFile": "Path FieldRef:*ObjectFieldSelector ResourceFieldRef:*ResourceFieldSelector Mode?",
    "DownwardAPIVolumeSource": "Items:[]DownwardAPIVolumeFile DefaultMode?",
    "EmptyDirVolumeSource": "Medium SizeLimit?",
    "EnvFromSource": "Prefix ConfigMapRef:*OptionalReference SecretRef:*OptionalReference",
    "EnvVar": "Name Value ValueFrom:*EnvVarSource",
    "EnvVarSource": (
        "FieldRef:*ObjectFieldSelector ResourceFieldRef:*ResourceFieldSelector ConfigMapKeyRef:*KeySelector "
        "SecretKeyRef:*KeySelector FileKeyRef:*FileKeySelector"
    ),
    "EphemeralContainer": f"{_CONTAINER} TargetContainerName",
    "EphemeralVolumeSource": "VolumeClaimTemplate:*PersistentVolumeClaimTemplate",
    "ExecAction": "Command?",
    "FCVolumeSource": "TargetWWNs? Lun? FSType ReadOnly:bool WWIDs?",
    "FileKeySelector": "VolumeName Path Key Optional?",
    "GRPCAction": "Port:int Service?",
    "HTTPGetAction": "Path Port:int Host Scheme HTTPHeaders:[]HTTPHeader",
    "HTTPHeader": "Name Value",
    "HostAlias": "IP Hostnames?",
    "HostPathVolumeSource": "Path Type?",
    "ISCSIVolumeSource": (
        "TargetPortal IQN Lun:int ISCSIInterface FSType ReadOnly:bool Portals? DiscoveryCHAPAuth=chapAuthDiscovery:bool "
        "SessionCHAPAuth=chapAuthSession:bool SecretRef:*LocalObjectReference InitiatorName?"
    ),
    "ImageVolumeSource": "Reference PullPolicy",
    "KeySelector": f"{_LOCAL} Key Optional?",
    "KeyToPath": "Key Path Mode?",
    "Lifecycle": "PostStart:*LifecycleHandler PreStop:*LifecycleHandler StopSignal?",
    "LifecycleHandler": f"{_HANDLER} Sleep:*SleepAction",
    "LocalObjectReference": _LOCAL,
    "NFSVolumeSource": "Server Path ReadOnly:bool",
    "NodeAffinity": f"Required{_DURING}:*NodeSelector Preferred{_DURING}:[]PreferredSchedulingTerm",
    "NodeSelector": "NodeSelectorTerms:[]NodeSelectorTerm",
    "NodeSelectorRequirement": "Key Operator Values?",
    "NodeSelectorTerm": "MatchExpressions:[]NodeSelectorRequirement MatchFields:[]NodeSelectorRequirement",
    "ObjectFieldSelector": "APIVersion FieldPath",
    "OptionalReference": f"{_LOCAL} Optional?",
    "PersistentVolumeClaimTemplate": "@ Spec:PersistentVolumeClaimSpec",
    "PersistentVolumeClaimVolumeSource": "ClaimName ReadOnly:bool",
    "PodAffinity": f"Required{_DURING}:[]PodAffinityTerm Preferred{_DURING}:[]WeightedPodAffinityTerm",
    "PodAffinityTerm": "LabelSelector? Namespaces? TopologyKey NamespaceSelector? MatchLabelKeys? MismatchLabelKeys?",
    "PodDNSConfig": "Nameservers? Searches? Options:[]PodDNSConfigOption",
    "PodDNSConfigOption": "Name Value?",
    "PodOS": "Name",
    "PodReadinessGate": "ConditionType",
    "PodResourceClaim": "Name ResourceClaimName? ResourceClaimTemplateName?",
    "PodSchedulingGate": "Name",
    "PodSecurityContext": (
        "HostNetwork:bool HostPID:bool HostIPC:bool ShareProcessNamespace? HostUsers? SELinuxOptions:*SELinuxOptions "
        "WindowsOptions:*WindowsSecurityContextOptions RunAsUser? RunAsGroup? RunAsNonRoot? SupplementalGroups? "
        "SupplementalGroupsPolicy? FSGroup? FSGroupChangePolicy? Sysctls:[]Sysctl SeccompProfile:*SeccompProfile "
        "AppArmorProfile:*AppArmorProfile SELinuxChangePolicy?"
    ),
    "PodSpec": (
        "Volumes:[]Volume InitContainers:[]Container Containers:[]Container EphemeralContainers:[]EphemeralContainer "
        "RestartPolicy TerminationGracePeriodSeconds? ActiveDeadlineSeconds? DNSPolicy NodeSelector? ServiceAccountName "
        "AutomountServiceAccountToken? NodeName SecurityContext:PodSecurityContext "
        "ImagePullSecrets:[]LocalObjectReference Hostname Subdomain SetHostnameAsFQDN? Affinity:*Affinity SchedulerName "
        "Tolerations:[]Toleration HostAliases:[]HostAlias PriorityClassName Priority? PreemptionPolicy? "
        "DNSConfig:*PodDNSConfig ReadinessGates:[]PodReadinessGate RuntimeClassName? Overhead? EnableServiceLinks? "
        "TopologySpreadConstraints:[]TopologySpreadConstraint OS:*PodOS SchedulingGates:[]PodSchedulingGate "
        "ResourceClaims:[]PodResourceClaim Resources:*ResourceRequirements HostnameOverride? SchedulingGroup?"
    ),
    "PodTemplateSpec": "@ Spec:PodSpec",
    "PreferredSchedulingTerm": "Weight:int Preference:NodeSelectorTerm",
    "Probe": (
        f"{_HANDLER} GRPC:*GRPCAction InitialDelaySeconds:int TimeoutSeconds:int PeriodSeconds:int SuccessThreshold:int "
        "FailureThreshold:int TerminationGracePeriodSeconds?"
    ),
    "ProjectedVolumeSource": "Sources:[]VolumeProjection DefaultMode?",
    "RBDVolumeSource": (
        "CephMonitors=monitors? RBDImage=image FSType RBDPool=pool RadosUser=user Keyring "
        "SecretRef:*LocalObjectReference ReadOnly:bool"
    ),
    "ResourceClaim": "Name Request",
    "ResourceFieldSelector": "ContainerName Resource Divisor:quantity",
    "ResourceRequirements": "Limits? Requests? Claims:[]ResourceClaim",
    "SELinuxOptions": "User Role Type Level",
    "ScaleIOVolumeSource": (
        "Gateway System SecretRef:*LocalObjectReference SSLEnabled:bool ProtectionDomain StoragePool StorageMode VolumeName "
        "FSType ReadOnly:bool"
    ),
    "AppArmorProfile": _PROFILE,
    "SeccompProfile": _PROFILE,
    "SecretVolumeSource": "SecretName Items:[]KeyToPath DefaultMode? Optional?",
    "SecurityContext": (
        "Capabilities:*Capabilities Privileged? SELinuxOptions:*SELinuxOptions "
        "WindowsOptions:*WindowsSecurityContextOptions RunAsUser? RunAsGroup? RunAsNonRoot? ReadOnlyRootFilesystem? "
        "AllowPrivilegeEscalation? ProcMount? SeccompProfile:*SeccompProfile AppArmorProfile:*AppArmorProfile"
    ),
    "ServiceAccountTokenProjection": "Audience ExpirationSeconds:int Path",
    "SleepAction": "Seconds:int",
    "Sysctl": "Name Value",
    "TCPSocketAction": "Port:int Host",
    "Toleration": "Key Operator Value Effect TolerationSeconds?",
    "TopologySpreadConstraint": (
        "MaxSkew:int TopologyKey WhenUnsatisfiable LabelSelector? MinDomains? NodeAffinityPolicy? NodeTaintsPolicy? "
        "MatchLabelKeys?"
    ),
    "Volume": (
        "Name HostPath:*HostPathVolumeSource EmptyDir:*EmptyDirVolumeSource GCEPersistentDisk? AWSElasticBlockStore? "
        "GitRepo? Secret:*SecretVolumeSource NFS:*NFSVolumeSource ISCSI:*ISCSIVolumeSource Glusterfs? "
        "PersistentVolumeClaim:*PersistentVolumeClaimVolumeSource RBD:*RBDVolumeSource Quobyte? FlexVolume? Cinder? "
        "CephFS=cephfs:*CephFSVolumeSource Flocker? DownwardAPI:*DownwardAPIVolumeSource FC:*FCVolumeSource "
        "AzureFile:*AzureFileVolumeSource ConfigMap:*ConfigMapVolumeSource VsphereVolume? "
        "AzureDisk:*AzureDiskVolumeSource PhotonPersistentDisk? Projected:*ProjectedVolumeSource PortworxVolume? "
        "ScaleIO:*ScaleIOVolumeSource StorageOS=storageos? CSI:*CSIVolumeSource Ephemeral:*EphemeralVolumeSource "
        "Image:*ImageVolumeSource"
    ),
    "VolumeDevice": "Name DevicePath",
    "VolumeMount": "Name ReadOnly:bool RecursiveReadOnly? MountPath SubPath MountPropagation? SubPathExpr",
    "VolumeProjection": (
        "Secret:*ConfigMapProjection DownwardAPI:*DownwardAPIProjection ConfigMap:*ConfigMapProjection "
        "ServiceAccountToken:*ServiceAccountTokenProjection ClusterTrustBundle? PodCertificate?"
    ),
    "WeightedPodAffinityTerm": "Weight:int PodAffinityTerm:PodAffinityTerm",
    "WindowsSecurityContextOptions": "GMSACredentialSpecName? GMSACredentialSpec? RunAsUserName? HostProcess?",
}
HOST = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
"""What a pod says of its host stands in its security context within."""
