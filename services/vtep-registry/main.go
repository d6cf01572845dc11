// vtep-registry says which hybrid nodes are VTEPs, and tells Cilium where the VPC is.
package main

import (
	"os"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/app"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
)

func main() {
	cilium.LogTo(os.Stderr)
	os.Exit(daemon.Main(daemon.VtepRegistry, app.Parse, app.Run))
}
