module github.com/hybridgateway/gateway/tools/lab

go 1.26.0

require (
	github.com/hybridgateway/gateway/libs v0.0.0
	github.com/hybridgateway/gateway/proto/gen v0.0.0
	github.com/hybridgateway/gateway/tools/ec2standin v0.0.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/google/nftables v0.3.0 // indirect
	github.com/mdlayher/netlink v1.7.3-0.20250113171957-fbb4dce95f42 // indirect
	github.com/mdlayher/socket v0.5.0 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/net v0.33.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/hybridgateway/gateway/libs => ../../libs
	github.com/hybridgateway/gateway/proto/gen => ../../proto/gen
	github.com/hybridgateway/gateway/tools/ec2standin => ../../tools/ec2standin
)
