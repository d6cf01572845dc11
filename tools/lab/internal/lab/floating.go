package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/hybridgateway/gateway/tools/lab/internal/agent"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// VTEPMode is how nodes on the premises know where to send what is for the VPC.
type VTEPMode string

// The modes, as vtep-registry's --vtep-mode names them.
const (
	Published VTEPMode = "published" // a CiliumVTEPConfig says it
	Floating  VTEPMode = "floating"  // cilium-config says it, once, and there is no CiliumVTEPConfig
)

// FloatingVTEP is the address that all gateways carry in the floating mode.
var FloatingVTEP = netip.MustParsePrefix("198.18.0.10/32")

// FloatingTable is the route table through which packets from the premises enter the VPC then.
const FloatingTable = world.MainTable

// VTEP is the address that nodes send to while a gateway leads.
func (l *Lab) VTEP(active *gateway.Gateway) netip.Addr {
	if l.Options.VTEPMode == Floating {
		return FloatingVTEP.Addr()
	}
	return active.NodeIP
}

// prepareCilium makes the cluster one with a stock Cilium, which is set up as the product says.
func (l *Lab) prepareCilium(ctx context.Context) error {
	if l.Options.VTEPMode != Floating {
		return nil
	}
	if err := l.Cluster.DeleteVTEPConfigDefinition(ctx); err != nil {
		return err
	}
	program := exec.CommandContext(ctx, filepath.Join(l.Options.BinDir, gateway.VtepRegistry), append(gateway.FloatingArgs(gateway.VtepRegistry, FloatingVTEP),
		"--print-cilium-config", "--vpc-cidrs="+world.VPCNetwork.String(), "--pod-cidrs="+l.World.PodNetworks()[0].String(), "--node-cidrs="+world.RemoteNetwork.String())...)
	text, err := program.Output()
	if err != nil {
		return fmt.Errorf("ask vtep-registry what Cilium has to be set to: %w", err)
	}
	var settings struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return fmt.Errorf("read what Cilium has to be set to: %w", err)
	}
	return l.Cluster.SetCiliumConfig(ctx, agent.ConfigMap, settings.Data)
}

// checkFloating tells what at EC2 does not lead to the gateway.
func (l *Lab) checkFloating(active *gateway.Gateway) error {
	if l.Options.VTEPMode != Floating {
		return nil
	}
	m, err := l.World.Machine(active.Name)
	if err != nil {
		return err
	}
	table, ok := l.EC2.Snapshot().Table(FloatingTable)
	if !ok {
		return fmt.Errorf("no route table %s", FloatingTable)
	}
	if r, ok := table.Route(FloatingVTEP); !ok || r.Target.ID != m.ENI {
		return fmt.Errorf("route table %s sends %s to %q, not to %s", FloatingTable, FloatingVTEP, r.Target.ID, m.ENI)
	}
	return nil
}
