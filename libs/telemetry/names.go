package telemetry

// Metric names, as instruments are created. The Prometheus exporter appends
// "_total" to counters and the unit to histograms.
const (
	// MetricLeaseHolder is 1 on the gateway that holds the record, else 0; label pod.
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
