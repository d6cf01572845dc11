// route-sync keeps the VPC's routes to the pod networks pointed at the active gateway.
package main

import (
	"os"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/services/route-sync/internal/app"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
)

func main() {
	os.Exit(daemon.Main(daemon.RouteSync, config.Parse, app.Run))
}
