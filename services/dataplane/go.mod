module github.com/hybridgateway/gateway/services/dataplane

go 1.26.0

require (
	github.com/hybridgateway/gateway/libs v0.0.0
	github.com/vishvananda/netlink v1.3.1
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
)

require github.com/vishvananda/netns v0.0.5 // indirect

replace (
	github.com/hybridgateway/gateway/libs => ../../libs
	github.com/hybridgateway/gateway/proto/gen => ../../proto/gen
)
