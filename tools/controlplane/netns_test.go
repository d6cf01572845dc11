package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/hybridgateway/gateway/libs/netnstest"
)

// TestPrivilegedNetworkNamespace starts the program where the lab does: in a
// namespace with lo and one veth, and no default route.
func TestPrivilegedNetworkNamespace(t *testing.T) {
	server, fabric := netnstest.New(t), netnstest.New(t)
	netnstest.Veth(t, server, "cptest0", "10.0.1.5/24", fabric, "cptest1", "10.0.1.1/24")

	cmd := exec.Command(os.Getenv("CONTROLPLANE_BIN"), "--dir="+t.TempDir(), "--listen=10.0.1.5:6443")
	cmd.Stderr = &bytes.Buffer{}
	if got := startReady(t, cmd, func() { server.Start(t, cmd) }); got != "https://10.0.1.5:6443" {
		t.Errorf("serves on %s", got)
	}
}
