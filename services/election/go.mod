module github.com/hybridgateway/gateway/services/election

go 1.26.0

require (
	github.com/hybridgateway/gateway/libs v0.0.0
	github.com/hybridgateway/gateway/proto/gen v0.0.0
)

replace (
	github.com/hybridgateway/gateway/libs => ../../libs
	github.com/hybridgateway/gateway/proto/gen => ../../proto/gen
)
