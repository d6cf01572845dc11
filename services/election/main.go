// election says which gateway is active.
package main

import (
	"os"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/services/election/internal/app"
	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/lease"
)

func main() {
	lease.LogTo(os.Stderr)
	os.Exit(daemon.Main(daemon.Election, config.Parse, app.Run))
}
