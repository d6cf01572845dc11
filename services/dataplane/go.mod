module github.com/hybridgateway/gateway/services/dataplane

go 1.26.0

require (
	github.com/hybridgateway/gateway/libs v0.0.0
	github.com/hybridgateway/gateway/proto/gen v0.0.0
	github.com/vishvananda/netlink v1.3.1
	github.com/vishvananda/netns v0.0.5
	golang.org/x/sys v0.49.0
)

replace (
	github.com/hybridgateway/gateway/libs => ../../libs
	github.com/hybridgateway/gateway/proto/gen => ../../proto/gen
)
