package telemetry

// Metric names, as instruments are created. The Prometheus exporter appends
// "_total" to counters and the unit to histograms.
const (
	// MetricLeaseHolder is the number of shards whose record the gateway holds: with one shard 1 on the
	// active gateway, else 0; label pod.
	MetricLeaseHolder = "eks_hybrid_gateway_lease_holder"
	// MetricVtepCount is the number of admitted VTEPs.
	MetricVtepCount = "eks_hybrid_gateway_vtep_count"
	// MetricVxlanPackets counts the tunnel device's packets (_total); label dir.
	MetricVxlanPackets = "eks_hybrid_gateway_vxlan_packets"
	// MetricRouteReconcileErrors counts failed reads and writes of routes (_total).
	MetricRouteReconcileErrors = "eks_hybrid_gateway_route_reconcile_errors"

	// MetricStreamConnected is 1 while admin's stream from a service is up; label stream.
	MetricStreamConnected = "eks_hybrid_gateway_stream_connected"
)

// The dataplane's metrics.
const (
	// MetricVxlanBytes counts the tunnel device's bytes (_total); label dir.
	MetricVxlanBytes = "eks_hybrid_gateway_vxlan_bytes"
	// MetricTunnelReady is 1 when the device is up and programmed from a whole list of VTEPs.
	MetricTunnelReady = "eks_hybrid_gateway_tunnel_ready"
	// MetricTunnelEntries is the number of entries in the kernel; label kind: fdb, neighbour, route.
	MetricTunnelEntries = "eks_hybrid_gateway_tunnel_entries"
	// MetricTunnelProblems is the number of things that cannot or must not be programmed;
	// label kind: blocking, refused, conflict, warning.
	MetricTunnelProblems = "eks_hybrid_gateway_tunnel_problems"
	// MetricTunnelOps counts changes made to the kernel (_total); label kind.
	MetricTunnelOps = "eks_hybrid_gateway_tunnel_ops"
	// MetricTunnelOpErrors counts changes of and reads from the kernel that failed (_total); label kind.
	MetricTunnelOpErrors = "eks_hybrid_gateway_tunnel_op_errors"
	// MetricGuardDropped counts packets that were not let out of the tunnel (_total); label reason.
	MetricGuardDropped = "eks_hybrid_gateway_guard_dropped"
	// MetricFastPathAttached is 1 while the fast path is attached to the network interface.
	MetricFastPathAttached = "eks_hybrid_gateway_fastpath_attached"
	// MetricFastPathPackets counts the tunnel's packets that took the fast path (_total); label dir.
	MetricFastPathPackets = "eks_hybrid_gateway_fastpath_packets"
	// MetricTunnelApplyDuration is the time from an event to the kernel being programmed.
	MetricTunnelApplyDuration = "eks_hybrid_gateway_tunnel_apply_duration"
)

// route-sync's metrics.
const (
	// MetricRouteCalls counts calls to EC2 (_total); labels action and outcome.
	MetricRouteCalls = "eks_hybrid_gateway_route_ec2_calls"
	// MetricRouteDriftRepairs counts routes put back after somebody changed or deleted them (_total).
	MetricRouteDriftRepairs = "eks_hybrid_gateway_route_drift_repairs"
	// MetricRoutes is the number of routes that are wanted; label state: unowned, in-sync,
	// pending, conflict, error.
	MetricRoutes = "eks_hybrid_gateway_routes"
	// MetricRouteTakeover is the time from the leadership event until all routes are in place.
	MetricRouteTakeover = "eks_hybrid_gateway_route_takeover_duration"
	// MetricInterfaceProblem is 1 while the gateway's network interface is not as it must be, or that cannot be told;
	// otherwise 0, also while a source/destination check that is on waits for the gateway to lead and to switch it off.
	MetricInterfaceProblem = "eks_hybrid_gateway_interface_problem"
	// MetricMissingPermissions is the number of permissions in IAM that the gateways' role lacks.
	MetricMissingPermissions = "eks_hybrid_gateway_missing_permissions"
)

// vtep-registry's metrics, besides MetricVtepCount.
const (
	// MetricVtepRefusals is the number of claims of nodes that are refused now; label reason.
	// A node all of whose claims are refused is quarantined.
	MetricVtepRefusals = "eks_hybrid_gateway_vtep_refusals"
	// MetricVtepPublishes counts writes of the CiliumVTEPConfig (_total); label outcome:
	// ok, stale, error, expired.
	MetricVtepPublishes = "eks_hybrid_gateway_vtep_publishes"
	// MetricVtepPublishDuration is the time from the wish to write the CiliumVTEPConfig to
	// the API server's answer.
	MetricVtepPublishDuration = "eks_hybrid_gateway_vtep_publish_duration"
	// MetricVtepConfigConflicts is the number of endpoints in other CiliumVTEPConfigs that
	// overlap the VPC.
	MetricVtepConfigConflicts = "eks_hybrid_gateway_vtep_config_conflicts"
	// MetricVtepEvents counts Events on CiliumNodes (_total); label outcome: ok, failed, dropped.
	MetricVtepEvents = "eks_hybrid_gateway_vtep_events"
	// MetricVtepStale is the number of VTEPs known only from the state file, which nobody has
	// confirmed since the start.
	MetricVtepStale = "eks_hybrid_gateway_vtep_stale"
	// MetricVtepStateWrites counts writes of the state file (_total); label outcome: ok, failed.
	MetricVtepStateWrites = "eks_hybrid_gateway_vtep_state_writes"
	// MetricVtepEndpoints is the number of endpoints that Cilium reports on; label state: synced,
	// pending, failed.
	MetricVtepEndpoints = "eks_hybrid_gateway_vtep_endpoints"
	// MetricVtepTakenDuration is the time from the wish to write the CiliumVTEPConfig until Cilium
	// reports that it uses what was written, in seconds.
	MetricVtepTakenDuration = "eks_hybrid_gateway_vtep_taken_duration"
	// MetricVtepAgentsBehind is the number of Cilium agents that run since before cilium-config
	// was changed; in floating mode.
	MetricVtepAgentsBehind = "eks_hybrid_gateway_vtep_agents_behind"
	// MetricVtepCiliumProblems is the number of settings in cilium-config that are not as the
	// floating mode needs them.
	MetricVtepCiliumProblems = "eks_hybrid_gateway_vtep_cilium_problems"
	// MetricKubernetesErrors counts failed list and watch calls (_total); label resource.
	MetricKubernetesErrors = "eks_hybrid_gateway_kubernetes_errors"
)

// election's metrics, besides MetricLeaseHolder.
const (
	// MetricLeaseEpoch is the epoch of the leadership record as last seen; label shard.
	MetricLeaseEpoch = "eks_hybrid_gateway_lease_epoch"
	// MetricLeaseTransitions counts leaderships that the gateway began or lost (_total); labels
	// shard and cause.
	MetricLeaseTransitions = "eks_hybrid_gateway_lease_transitions"
	// MetricLeaseWriteDuration is the time a write of the record took, in seconds; labels
	// purpose (take-over, renew, converge, release) and outcome (swapped, conflict, failed,
	// unknown).
	MetricLeaseWriteDuration = "eks_hybrid_gateway_lease_write_duration"
	// MetricLeaseWriteFailures counts writes of the record that did not succeed (_total);
	// labels as above.
	MetricLeaseWriteFailures = "eks_hybrid_gateway_lease_write_failures"
	// MetricPeerUp is 1 while another gateway and this one hear each other, else 0; label peer.
	MetricPeerUp = "eks_hybrid_gateway_peer_up"
	// MetricPeerChanges counts changes of what is known of another gateway (_total); labels peer, change.
	MetricPeerChanges = "eks_hybrid_gateway_peer_changes"
	// MetricPeerFalseSuspicions counts suspicions of another gateway that was then heard again as the same
	// process (_total); label peer.
	MetricPeerFalseSuspicions = "eks_hybrid_gateway_peer_false_suspicions"
	// MetricHeartbeatsDropped counts heartbeats that were not taken for a sign of life
	// (_total); label reason.
	MetricHeartbeatsDropped = "eks_hybrid_gateway_heartbeats_dropped"
)

// Names of log fields and span attributes that several services use.
const (
	KeyError   = "error"
	KeyService = "service"
	KeyGateway = "gateway"
	KeyShard   = "shard"
	KeyEpoch   = "epoch"
	KeyHolder  = "holder"
	KeyNode    = "node"
	KeyReason  = "reason"
)
