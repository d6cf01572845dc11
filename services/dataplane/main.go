// The dataplane keeps the VXLAN tunnel of a hybrid gateway.
package main

import (
	"os"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/services/dataplane/internal/app"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
)

func main() {
	os.Exit(daemon.Main(daemon.Dataplane, config.Parse, app.Run))
}
