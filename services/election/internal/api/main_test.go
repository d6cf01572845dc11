package api

import (
	"context"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/libs/daemon"
)

// asService makes the test binary a service that serves nothing but its health.
const asService = "ELECTION_TEST_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		os.Exit(daemon.Main("service", parseService, runService))
	}
	goleak.VerifyTestMain(m)
}

func parseService(args []string, out io.Writer) (daemon.Common, error) {
	var c struct{ daemon.Common }
	err := daemon.ParseFlags("service", "Serves its health.", "127.0.0.1:0", &c, args, out)
	return c.Common, err
}

func runService(ctx context.Context, c daemon.Common) error {
	server := daemon.NewServer()
	server.SetServing(true)
	return server.ServeSocket(ctx, c.Socket("service"))
}
