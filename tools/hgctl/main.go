// Hgctl is the operators' client of a gateway's admin API.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/hybridgateway/gateway/tools/hgctl/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := app.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
