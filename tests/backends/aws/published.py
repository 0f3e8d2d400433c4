"""EC2's published list of error codes ("Error codes for the Amazon EC2 API"), and what of it the table leaves out."""

from __future__ import annotations

from typing import Final

#: Codes of calls that this plugin never makes (Client VPN, traffic mirroring, snapshots, routes, launch templates,
#: fleets, reserved instances, dry runs). Where one comes all the same, the run stops with the words.
LEFT_UNKNOWN: Final = frozenset(
    """
    DryRunOperation UnsupportedInstanceAttribute ActiveVpcPeeringConnectionPerVpcLimitExceeded AsnConflict
    BundlingInProgress CannotDelete ClientVpnAuthorizationRuleLimitExceeded
    ClientVpnCertificateRevocationListLimitExceeded ClientVpnEndpointAssociationExists
    ClientVpnEndpointLimitExceeded ClientVpnRouteLimitExceeded ClientVpnTerminateConnectionsLimitExceeded
    CidrConflict ConcurrentCreateImageNoRebootLimitExceeded ConcurrentSnapshotLimitExceeded
    CreditSpecificationUpdateInProgress CustomerGatewayLimitExceeded DeleteConversionTaskError
    DefaultSubnetAlreadyExistsInAvailabilityZone DefaultVpcAlreadyExists DiskImageSizeTooLarge
    DuplicateSubnetsInSameZone EIPMigratedToVpc ExistingVpcEndpointConnections FleetNotInModifiableState
    FlowLogAlreadyExists FlowLogsLimitExceeded Gateway.NotAttached HostAlreadyCoveredByReservation
    InaccessibleStorageLocation InstanceAlreadyLinked InstanceCreditSpecification.NotSupported
    InterfaceInUseByTrafficMirrorSession InterfaceInUseByTrafficMirrorTarget InternetGatewayLimitExceeded
    InvalidAddress.Locked InvalidAddress.Malformed InvalidAddress.NotFound InvalidAddressID.NotFound
    InvalidAllocationID.NotFound InvalidAMIAttributeItemValue InvalidAMIName.Duplicate InvalidAMIName.Malformed
    InvalidAssociationID.NotFound InvalidAttachment.NotFound InvalidAttachmentID.NotFound InvalidBundleID.NotFound
    InvalidCidr.InUse InvalidClientVpnAssociationIdNotFound InvalidClientVpnConnection.IdNotFound
    InvalidClientVpnConnection.UserNotFound InvalidClientVpnDuplicateAssociationException
    InvalidClientVpnDuplicateAuthorizationRule InvalidClientVpnDuplicateRoute
    InvalidClientVpnEndpointAuthorizationRuleNotFound InvalidClientVpnRouteNotFound
    InvalidClientVpnSubnetId.DifferentAccount InvalidClientVpnSubnetId.DuplicateAz InvalidClientVpnSubnetId.NotFound
    InvalidClientVpnSubnetId.OverlappingCidr InvalidClientVpnActiveAssociationNotFound
    InvalidClientVpnEndpointId.NotFound InvalidConversionTaskId InvalidConversionTaskId.Malformed
    InvalidCpuCredits.Malformed InvalidCustomerGateway.DuplicateIpAddress InvalidCustomerGatewayId.Malformed
    InvalidCustomerGatewayID.NotFound InvalidCustomerGatewayState InvalidDhcpOptionID.NotFound
    InvalidDhcpOptionsID.NotFound InvalidDhcpOptionsId.Malformed InvalidExportTaskID.NotFound
    InvalidFlowLogId.NotFound InvalidFpgaImageID.Malformed InvalidFpgaImageID.NotFound InvalidGatewayID.NotFound
    InvalidGroup.Duplicate InvalidGroup.InUse InvalidHostReservationId.Malformed
    InvalidHostReservationOfferingId.Malformed
    InvalidInstanceCreditSpecification.DuplicateInstanceId InvalidInstanceID.NotLinkable
    InvalidInternetGatewayId.Malformed InvalidInternetGatewayID.NotFound InvalidKernelId.Malformed
    InvalidLaunchTemplateId.Malformed InvalidLaunchTemplateId.NotFound InvalidLaunchTemplateId.VersionNotFound
    InvalidLaunchTemplateName.AlreadyExistsException InvalidLaunchTemplateName.MalformedException
    InvalidLaunchTemplateName.NotFoundException InvalidManifest InvalidNatGatewayID.NotFound
    InvalidNetworkAclEntry.NotFound InvalidNetworkAclId.Malformed InvalidNetworkAclID.NotFound
    InvalidNetworkLoadBalancerArn.Malformed InvalidNetworkLoadBalancerArn.NotFound
    InvalidNetworkInterfaceAttachmentId.Malformed InvalidNetworkInterface.InUse InvalidNetworkInterfaceId.Malformed
    InvalidOption.Conflict InvalidPermission.Duplicate InvalidPermission.Malformed InvalidPermission.NotFound
    InvalidPolicyDocument InvalidPrefixListId.Malformed InvalidPrefixListId.NotFound InvalidProductInfo
    InvalidPurchaseToken.Expired InvalidPurchaseToken.Malformed InvalidQuantity InvalidRamDiskId.Malformed
    InvalidReservationID.Malformed InvalidReservationID.NotFound InvalidReservedInstancesId
    InvalidReservedInstancesOfferingId InvalidResourceType.Unknown InvalidRoute.InvalidState InvalidRoute.Malformed
    InvalidRoute.NotFound InvalidRouteTableId.Malformed InvalidRouteTableID.NotFound InvalidScheduledInstance
    InvalidServiceName InvalidSnapshot.InUse InvalidSpotDatafeed.NotFound InvalidSpotFleetRequestConfig
    InvalidSpotFleetRequestId.Malformed InvalidSpotFleetRequestId.NotFound InvalidSpotInstanceRequestID.Malformed
    InvalidSubnet.Range InvalidTargetArn.Unknown InvalidTrafficMirrorFilterNotFound
    InvalidTrafficMirrorFilterRuleNotFound InvalidTrafficMirrorSessionNotFound InvalidTrafficMirrorTargetNoFound
    InvalidUserID.Malformed InvalidVolumeID.Duplicate InvalidVolumeID.Malformed InvalidVolumeID.ZoneMismatch
    InvalidVolume.ZoneMismatch InvalidVpcEndpointId.Malformed InvalidVpcEndpoint.NotFound
    InvalidVpcEndpointId.NotFound InvalidVpcEndpointService.NotFound InvalidVpcEndpointServiceId.NotFound
    InvalidVpcEndpointType InvalidVpcPeeringConnectionId.Malformed InvalidVpcPeeringConnectionID.NotFound
    InvalidVpcPeeringConnectionState.DnsHostnamesDisabled InvalidVpcRange InvalidVpnConnectionID
    InvalidVpnConnectionID.NotFound InvalidVpnConnection.InvalidState InvalidVpnConnection.InvalidType
    InvalidVpnGatewayAttachment.NotFound InvalidVpnGatewayID.NotFound InvalidVpnGatewayState LimitPriceExceeded
    LogDestinationNotFoundException LogDestinationPermissionIssue MaxConfigLimitExceededException
    MaxScheduledInstanceCapacityExceeded MaxTemplateLimitExceeded MaxTemplateVersionLimitExceeded
    NatGatewayLimitExceeded NatGatewayMalformed NatGatewayNotFound NetworkAclEntryAlreadyExists
    NetworkAclEntryLimitExceeded NetworkAclLimitExceeded NetworkInterfaceNotFoundException
    NetworkInterfaceNotSupportedException NetworkLoadBalancerNotFoundException
    NlbInUseByTrafficMirrorTargetException NoSuchVersion NotExportable OutstandingVpcPeeringConnectionLimitExceeded
    PendingSnapshotLimitExceeded PendingVpcPeeringConnectionLimitExceeded ReservedInstancesCountExceeded
    ReservedInstancesLimitExceeded ReservedInstancesUnavailable Resource.AlreadyAssigned Resource.AlreadyAssociated
    RouteAlreadyExists RouteTableLimitExceeded RulesPerSecurityGroupLimitExceeded ScheduledInstanceLimitExceeded
    ScheduledInstanceParameterMismatch ScheduledInstanceSlotNotOpen ScheduledInstanceSlotUnavailable
    SecurityGroupLimitExceeded SnapshotCopyUnsupported.InterRegion SnapshotCreationPerVolumeRateExceeded
    SnapshotLimitExceeded SubnetLimitExceeded TrafficMirrorFilterInUse
    TrafficMirrorSessionsPerInterfaceLimitExceeded TrafficMirrorSessionsPerTargetLimitExceeded
    TrafficMirrorSourcesPerTargetLimitExceeded TrafficMirrorTargetInUseException TrafficMirrorFilterLimitExceeded
    TrafficMirrorFilterRuleLimitExceeded TrafficMirrorSessionLimitExceeded TrafficMirrorFilterRuleAlreadyExists
    UnknownPrincipalType.Unsupported UnsupportedHibernationConfiguration UpdateLimitExceeded VolumeInUse
    VolumeModificationSizeLimitExceeded VpcCidrConflict VpcEndpointLimitExceeded VpcLimitExceeded
    VpcPeeringConnectionAlreadyExists VpcPeeringConnectionsPerVpcLimitExceeded VpnConnectionLimitExceeded
    VpnGatewayAttachmentLimitExceeded VpnGatewayLimitExceeded
    """.split()  # noqa: SIM905 - a list of quoted lines would be six pages
)

#: All codes of the list.
PUBLISHED: Final = LEFT_UNKNOWN | frozenset(
    """
    InvalidInstanceAttributeValue
    AuthFailure Blocked IdempotentParameterMismatch IncompleteSignature InvalidAction InvalidCharacter
    InvalidClientTokenId InvalidPaginationToken InvalidParameter InvalidParameterCombination
    InvalidParameterDependency InvalidParameterValue InvalidQueryParameter MalformedQueryString MissingAction
    MissingAuthenticationToken MissingParameter OptInRequired PendingVerification RequestExpired
    UnauthorizedOperation UnknownParameter UnsupportedOperation UnsupportedProtocol ValidationError
    AddressLimitExceeded AttachmentLimitExceeded BootForVolumeTypeUnsupported ConcurrentTagAccess
    CustomerKeyHasBeenRevoked DefaultVpcDoesNotExist DependencyViolation DisallowedForDedicatedTenancyNetwork
    EncryptedVolumesNotSupported FilterLimitExceeded HostLimitExceeded IdempotentInstanceTerminated
    IncorrectInstanceState IncorrectModificationState IncorrectState IncompatibleHostRequirements
    InstanceLimitExceeded InsufficientCapacityOnHost InsufficientFreeAddressesInSubnet
    InsufficientReservedInstancesCapacity InvalidAffinity InvalidAMIID.Malformed InvalidAMIID.NotFound
    InvalidAMIID.Unavailable InvalidAutoPlacement InvalidAvailabilityZone InvalidBlockDeviceMapping
    InvalidClientToken InvalidDevice.InUse InvalidFilter InvalidFormat InvalidGroupId.Malformed
    InvalidGroup.NotFound InvalidGroup.Reserved InvalidHostConfiguration InvalidHostId InvalidHostID.Malformed
    InvalidHostId.Malformed InvalidHostID.NotFound InvalidHostId.NotFound InvalidHostState
    InvalidIamInstanceProfileArn.Malformed InvalidID InvalidInput InvalidInstanceFamily InvalidInstanceID
    InvalidInstanceID.Malformed InvalidInstanceID.NotFound InvalidInstanceState InvalidInstanceType
    InvalidInterface.IpAddressLimitExceeded InvalidIPAddress.InUse InvalidKey.Format InvalidKeyPair.Duplicate
    InvalidKeyPair.Format InvalidKeyPair.NotFound InvalidCapacityReservationIdMalformedException
    InvalidCapacityReservationIdNotFoundException InvalidMaxResults InvalidNetworkInterfaceID.NotFound
    InvalidNextToken InvalidPlacementGroup.Duplicate InvalidPlacementGroup.InUse InvalidPlacementGroup.Unknown
    InvalidRegion InvalidRequest InvalidSecurityGroupId.Malformed InvalidSecurityGroupID.NotFound
    InvalidSecurity.RequestHasExpired InvalidSnapshotID.Malformed InvalidSnapshot.NotFound
    InvalidSpotInstanceRequestID.NotFound InvalidState InvalidStateTransition InvalidSubnet InvalidSubnet.Conflict
    InvalidSubnetID.Malformed InvalidSubnetID.NotFound InvalidSubnetId.NotFound InvalidTagKey.Malformed
    InvalidTenancy InvalidTime InvalidVolume.NotFound InvalidVpcID.Malformed InvalidVpcID.NotFound InvalidVpcState
    InvalidZone.NotFound KeyPairLimitExceeded LegacySecurityGroup MaxIOPSLimitExceeded
    MaxSpotFleetRequestCountExceeded MaxSpotInstanceCountExceeded MissingInput NetworkInterfaceLimitExceeded
    NonEBSInstance OperationNotPermitted PlacementGroupLimitExceeded PrivateIpAddressLimitExceeded
    RequestResourceCountExceeded ReservationCapacityExceeded ResourceCountExceeded ResourceCountLimitExceeded
    ResourceLimitExceeded RouteLimitExceeded SecurityGroupsPerInstanceLimitExceeded
    SecurityGroupsPerInterfaceLimitExceeded SignatureDoesNotMatch TagLimitExceeded
    TargetCapacityLimitExceededException UnavailableHostRequirements UnknownVolumeType Unsupported
    UnsupportedException UnsupportedHostConfiguration UnsupportedInstanceTypeOnHost UnsupportedTenancy
    VolumeIOPSLimit VolumeLimitExceeded VolumeTypeNotAvailableInZone VPCIdNotSpecified VPCResourceNotSpecified
    ZonesMismatched InsufficientAddressCapacity InsufficientCapacity InsufficientInstanceCapacity
    InsufficientHostCapacity InsufficientReservedInstanceCapacity InsufficientVolumeCapacity InternalError
    InternalFailure RequestLimitExceeded ServerInternal ServiceUnavailable Unavailable
    """.split()  # noqa: SIM905 - a list of quoted lines would be six pages
)

#: Step and kind of codes whose message changes nothing.
BARE: Final[dict[tuple[str, str], str]] = {
    ("back-off", "conflict"): (
        "DependencyViolation IncorrectInstanceState IncorrectModificationState IncorrectState InvalidInstanceState "
        "InvalidPlacementGroup.InUse InvalidState InvalidStateTransition "
    ),
    ("back-off", "reservation-not-ready"): "CapacityReservationPending InvalidCapacityReservationState",
    ("back-off", "throttle"): (
        "ConcurrentTagAccess RequestThrottled RequestThrottledException ThrottledException ThrottlingException "
        "TooManyRequestsException "
    ),
    ("gone", "missing"): (
        "InvalidKeyPair.NotFound InvalidPlacementGroup.Unknown InvalidSpotInstanceRequestID.NotFound "
        "InvalidVolume.NotFound "
    ),
    ("gone", "reservation-mismatch"): (
        "InvalidCapacityReservationId.NotFound InvalidCapacityReservationIdNotFoundException "
    ),
    ("move-on", "account-blocked"): "PendingVerification",
    ("move-on", "capacity-zone"): (
        "InsufficientCapacity InsufficientCapacityOnHost InsufficientReservedInstancesCapacity "
        "UnavailableHostRequirements "
    ),
    ("move-on", "network-exhausted"): "InsufficientAddressCapacity InsufficientFreeAddressesInSubnet",
    ("move-on", "no-network"): "DefaultVpcDoesNotExist VPCIdNotSpecified VPCResourceNotSpecified",
    ("move-on", "quota"): (
        "AddressLimitExceeded HostLimitExceeded InstanceLimitExceeded KeyPairLimitExceeded MaxFleetCountExceeded "
        "MaxIOPSLimitExceeded NetworkInterfaceLimitExceeded PlacementGroupLimitExceeded ResourceCountExceeded "
        "ResourceCountLimitExceeded ResourceLimitExceeded RouteLimitExceeded TargetCapacityLimitExceededException "
        "VolumeLimitExceeded "
    ),
    ("move-on", "spot-quota"): "MaxSpotFleetRequestCountExceeded MaxSpotInstanceCountExceeded",
    ("move-on", "type-unsupported"): "Unsupported VolumeTypeNotAvailableInZone",
    ("stop", "account-blocked"): "Blocked",
    ("stop", "auth"): (
        "ExpiredTokenException IncompleteSignature InvalidSecurity.RequestHasExpired InvalidSignatureException "
        "UnrecognizedClientException "
    ),
    ("stop", "conflict"): "IdempotentInstanceTerminated InvalidPlacementGroup.Duplicate",
    ("stop", "denied"): "AccessDeniedException OperationNotPermitted",
    ("stop", "form-denied"): "TagPolicyException TagPolicyViolation TagPolicyViolationException",
    ("stop", "invalid"): (
        "AttachmentLimitExceeded BootForVolumeTypeUnsupported CustomerKeyHasBeenRevoked "
        "DisallowedForDedicatedTenancyNetwork EncryptedVolumesNotSupported FilterLimitExceeded "
        "IdempotentParameterMismatch IncompatibleHostRequirements InvalidAMIID.Malformed InvalidAMIID.Unavailable "
        "InvalidAction InvalidAffinity InvalidAutoPlacement InvalidAvailabilityZone InvalidBlockDeviceMapping "
        "InvalidCapacityReservationId.Malformed InvalidCapacityReservationIdMalformedException InvalidCharacter "
        "InvalidClientToken InvalidDevice.InUse InvalidFilter InvalidFormat InvalidGroup.NotFound "
        "InvalidGroup.Reserved InvalidGroupId.Malformed InvalidHostConfiguration InvalidHostID.Malformed "
        "InvalidHostID.NotFound InvalidHostId InvalidHostId.Malformed InvalidHostId.NotFound InvalidHostState "
        "InvalidID InvalidIPAddress.InUse InvalidIamInstanceProfileArn.Malformed InvalidInput InvalidInstanceFamily "
        "InvalidInstanceID InvalidInstanceID.Malformed InvalidInstanceType InvalidInterface.IpAddressLimitExceeded "
        "InvalidKeyPair.Format InvalidKmsKey.InvalidState InvalidMaxResults InvalidNetworkInterfaceID.NotFound "
        "InvalidNextToken InvalidPaginationToken InvalidParameter InvalidParameterCombination "
        "InvalidParameterDependency InvalidQueryParameter InvalidRegion InvalidRequest "
        "InvalidSecurityGroupID.NotFound InvalidSecurityGroupId.Malformed InvalidSnapshot.NotFound "
        "InvalidSnapshotID.Malformed InvalidSubnet InvalidSubnet.Conflict InvalidSubnetID.Malformed "
        "InvalidSubnetId.NotFound InvalidTagKey.Malformed InvalidTenancy InvalidTime InvalidUserData.Malformed "
        "InvalidVpcID.Malformed InvalidVpcID.NotFound InvalidVpcState InvalidZone.NotFound LegacySecurityGroup "
        "MalformedQueryString MissingAction MissingInput MissingParameter NonEBSInstance ParameterVersionNotFound "
        "PrivateIpAddressLimitExceeded RequestResourceCountExceeded SecurityGroupsPerInstanceLimitExceeded "
        "SecurityGroupsPerInterfaceLimitExceeded TagLimitExceeded UnknownParameter UnknownVolumeType "
        "UnsupportedException UnsupportedHostConfiguration UnsupportedInstanceTypeOnHost UnsupportedOperation "
        "UnsupportedProtocol UnsupportedTenancy ValidationError VolumeIOPSLimit ZonesMismatched "
    ),
    ("stop", "unknown"): "NeverHeardOf",
}
