module github.com/hybridgateway/gateway/tools/pins/golangci-lint

go 1.26.0
