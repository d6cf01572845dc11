package app

import (
	"context"
	"errors"
	"io"

	"github.com/hybridgateway/gateway/tools/lab/internal/config"
)

func runDemo(ctx context.Context, c config.Config, stdout, stderr io.Writer) (err error) {
	return errors.New("not yet")
}
