package agent

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// controlPlane runs an API server in a host and gives its kubeconfig.
func controlPlane(t *testing.T, h *netns.Host, listen string) string {
	t.Helper()
	bin, dir := findControlPlane(t), t.TempDir()
	cmd := h.Command(context.Background(), bin, "--dir", dir, "--listen", listen)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, `"ready":true`) {
		t.Fatalf("control plane said %q, %v", line, err)
	}
	return filepath.Join(dir, "kubeconfig")
}

func findControlPlane(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CONTROLPLANE_BIN"); bin != "" {
		return bin
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		bin := filepath.Join(dir, ".bin", "controlplane")
		if _, err := os.Stat(bin); err == nil {
			return bin
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	// The test has made a world: it runs as root, and nothing may be missing.
	t.Fatal("no control plane: build it with `make controlplane`, or set CONTROLPLANE_BIN")
	return ""
}

func TestPrivilegedAgentsSteerTheirNodes(t *testing.T) {
	w, err := world.New(world.Options{Prefix: netnstest.Prefix(t, "ag"), EC2: ec2standin.New(ec2standin.Config{}), Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	cp, err := w.Host("cp")
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Machine("cp")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := controlPlane(t, cp, netip.AddrPortFrom(m.IP, 6443).String())
	rc, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(h *netns.Host) dynamic.Interface {
		t.Helper()
		d, done, err := Client(rc, h)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		return d
	}
	for _, n := range w.Nodes() {
		run(t, n.Name, connect(n.Host), n)
	}
	configs := connect(cp).Resource(Resource)
	ctx := context.Background()
	o := object("hybrid-gateway", "vpc-gateway 10.0.0.0/16 10.0.1.10 "+goodMAC)
	if _, err := configs.Create(ctx, o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	all := func(tunnel string) func() bool {
		return func() bool {
			for _, n := range w.Nodes() {
				v := n.VTEPs()
				if len(v) != 1 || v[0].TunnelEndpoint.String() != tunnel || v[0].CIDR != world.VPCNetwork {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "all nodes send to the first gateway", all("10.0.1.10"))
	eventually(t, "status synced", func() bool {
		got, err := configs.Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		problem, ok := reported(got)["vpc-gateway"]
		return ok && problem == ""
	})

	// A node that cannot reach the API server keeps its map, and catches up.
	if err := w.Partition("node1", "cp"); err != nil {
		t.Fatal(err)
	}
	if err := configs.Delete(ctx, o.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	node1, node2 := w.Nodes()[0], w.Nodes()[1]
	eventually(t, "the other node follows", func() bool { return len(node2.VTEPs()) == 0 })
	if v := node1.VTEPs(); len(v) != 1 {
		t.Errorf("node without an API server has %v", v)
	}
	if err := w.Heal("node1", "cp"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node catches up", func() bool { return len(node1.VTEPs()) == 0 })

	newcomer, err := w.AddNode(onprem.Spec{
		Name: "node9", IP: netip.MustParseAddr("192.168.1.99"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("100.64.99.0/24")},
	})
	if err != nil {
		t.Fatal(err)
	}
	o = object("hybrid-gateway", "vpc-gateway 10.0.0.0/16 10.0.2.10 "+goodMAC)
	if _, err := configs.Create(ctx, o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	run(t, newcomer.Name, connect(newcomer.Host), newcomer)
	eventually(t, "a new node too", all("10.0.2.10"))
	t.Logf("new node steered %v after its agent started", time.Since(started).Round(time.Millisecond))
}
