package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hybridgateway/gateway/tools/controlplane/internal/config"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/etcd"
)

// RunMember runs one member of etcd until ctx ends. It prints the line that says ready
// to out.
func RunMember(ctx context.Context, m config.Member, out io.Writer) error {
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	unlock, err := lock(filepath.Join(m.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	return etcd.RunMember(ctx, m, func() error {
		line := memberLine{Ready: true, Endpoint: "https://" + m.Listen.String()}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return fmt.Errorf("say ready: %w", err)
		}
		return nil
	})
}

type memberLine struct {
	Ready    bool   `json:"ready"`
	Endpoint string `json:"endpoint"`
}
