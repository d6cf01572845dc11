// Admin is the door for operators: it joins the event streams of this gateway's
// services and answers for them over mutual TLS.
package main

import (
	"os"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/services/admin/internal/app"
	"github.com/hybridgateway/gateway/services/admin/internal/config"
)

func main() {
	os.Exit(daemon.Main(daemon.Admin, config.Parse, app.Run))
}
