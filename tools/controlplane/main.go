package main

import (
	"os"

	"github.com/hybridgateway/gateway/tools/controlplane/internal/app"
)

func main() {
	os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr))
}
