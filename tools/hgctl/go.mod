module github.com/hybridgateway/gateway/tools/hgctl

go 1.26.0

require (
	github.com/cenkalti/backoff/v5 v5.0.3
	github.com/hybridgateway/gateway/libs v0.0.0
	github.com/hybridgateway/gateway/proto/gen v0.0.0
	go.uber.org/goleak v1.3.0
	golang.org/x/term v0.47.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/alecthomas/kong v1.17.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc // indirect
)

replace (
	github.com/hybridgateway/gateway/libs => ../../libs
	github.com/hybridgateway/gateway/proto/gen => ../../proto/gen
)
