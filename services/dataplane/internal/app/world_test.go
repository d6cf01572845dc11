package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
)

// asDataplane makes this test binary the dataplane, so that a test can run it as a process and kill it.
const asDataplane = "TEST_BE_THE_DATAPLANE"

// unprivileged has the dataplane run without the capabilities that loading programs into the kernel needs.
const unprivileged = "TEST_WITHOUT_BPF"

func TestMain(m *testing.M) {
	if what := os.Getenv(spoiled); what != "" && os.Getenv(asDataplane) != "" {
		panic(spoil(what))
	}
	if os.Getenv(unprivileged) != "" {
		os.Exit(dropBPF())
	}
	if os.Getenv(asDataplane) != "" {
		os.Exit(daemon.Main(daemon.Dataplane, config.Parse, Run))
	}
	goleak.VerifyTestMain(m)
}

// dropBPF starts this binary anew, without those capabilities; it returns only when that fails.
func dropBPF() int {
	runtime.LockOSThread()
	for _, capability := range []uintptr{unix.CAP_BPF, unix.CAP_SYS_ADMIN} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			fmt.Fprintln(os.Stderr, "drop a capability:", err)
			return 1
		}
	}
	os.Unsetenv(unprivileged)
	fmt.Fprintln(os.Stderr, "run anew:", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	return 1
}

// patience is many times what anything here takes on a busy machine.
const patience = 2 * time.Minute

// world is a gateway between a cloud pod and two hybrid nodes:
//
//	cloud 10.0.2.20 --- fabric --- gateway 10.0.1.10
//	                      |------- node 192.168.1.11, pod 100.64.1.10
//	                      '------- node 192.168.2.12, pod 100.64.2.10
//
// The fabric knows one pod route, to the gateway. The nodes have a plain kernel VXLAN device, and send what comes from a pod address
// to the cloud through it.
type world struct {
	gateway, cloud, fabric *netnstest.Namespace
	nodes                  []*netnstest.Namespace
	dir                    string
	vtep                   string // what the nodes send to
	registry               *registry
}

const (
	gatewayIP    = "10.0.1.10"
	floatingVTEP = "198.18.0.10"
	cloudIP      = "10.0.2.20"
)

func nodeIP(i int) string { return fmt.Sprintf("192.168.%d.1%d", i, i) }
func podIP(i int) string  { return fmt.Sprintf("100.64.%d.10", i) }
func podNet(i int) string { return fmt.Sprintf("100.64.%d.0/24", i) }

func newWorld(t testing.TB) *world { t.Helper(); return newWorldTo(t, gatewayIP) }

// newWorldTo is a world in which the nodes send to a certain VTEP.
func newWorldTo(t testing.TB, vtep string) *world {
	t.Helper()
	w := &world{gateway: netnstest.New(t), cloud: netnstest.New(t), fabric: netnstest.New(t), dir: t.TempDir(), vtep: vtep}
	w.fabric.Sysctl(t, "net/ipv4/ip_forward", "1")
	connect := func(host *netnstest.Namespace, name, addr, router string) {
		netnstest.Veth(t, host, "eth0", addr, w.fabric, name, router+"/24")
		host.Route(t, "0.0.0.0/0", router)
	}
	connect(w.gateway, "gw", gatewayIP+"/24", "10.0.1.1")
	connect(w.cloud, "cloud", cloudIP+"/24", "10.0.2.1")
	w.fabric.Route(t, "100.64.0.0/10", gatewayIP)
	if vtep != gatewayIP {
		w.gateway.SetUp(t, "lo")
		w.fabric.Route(t, vtep+"/32", gatewayIP)
	}
	for i := 1; i <= 2; i++ {
		node := netnstest.New(t)
		connect(node, fmt.Sprint("node", i), nodeIP(i)+"/24", fmt.Sprintf("192.168.%d.1", i))
		tunnelNode(t, node, i, vtep)
		w.nodes = append(w.nodes, node)
	}
	w.registry = newRegistry(t, filepath.Join(w.dir, daemon.VtepRegistry+".sock"))
	return w
}

// tunnelNode gives a node a pod address and the way from it to the cloud, by way of a VTEP.
func tunnelNode(t testing.TB, node *netnstest.Namespace, i int, vtep string) {
	t.Helper()
	node.SetUp(t, "lo", podIP(i)+"/32")
	mac := netaddr.VTEPMAC(netip.MustParseAddr(nodeIP(i)))
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = "vxlan", 1450, mac[:]
	device := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 2, Port: 8472, SrcAddr: net.ParseIP(nodeIP(i))}
	if err := node.Netlink.LinkAdd(device); err != nil {
		t.Fatal(err)
	}
	node.SetUp(t, "vxlan")
	gateway := net.ParseIP(vtep)
	gatewayMAC := netaddr.VTEPMAC(netip.MustParseAddr(vtep))
	index := node.Link(t, "vxlan").Attrs().Index
	rule := netlink.NewRule()
	rule.Src, rule.Table, rule.Family = netnstest.IPNet(netip.MustParsePrefix(podNet(i))), 100, netlink.FAMILY_V4
	for _, err := range []error{
		node.Netlink.NeighSet(&netlink.Neigh{LinkIndex: index, Family: syscall.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT, HardwareAddr: gatewayMAC[:], IP: gateway}),
		node.Netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, HardwareAddr: gatewayMAC[:], IP: gateway}),
		node.Netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: netnstest.IPNet(netip.MustParsePrefix("10.0.0.0/16")), Gw: gateway, Flags: int(netlink.FLAG_ONLINK), Table: 100}),
		node.Netlink.RuleAdd(rule),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// registry stands in for vtep-registry: the real stream on the real socket, with what a test puts in.
type registry struct {
	vtepsv1.UnimplementedVtepsServiceServer
	log    *feed.Log[*vtepsv1.Vtep]
	socket string
	stop   func()
}

func (r *registry) Watch(q *vtepsv1.WatchRequest, stream grpc.ServerStreamingServer[vtepsv1.WatchResponse]) error {
	return wire.Serve(stream, r.log, q.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*vtepsv1.Vtep]) *vtepsv1.WatchResponse {
		return &vtepsv1.WatchResponse{Header: h, Vtep: e.Value}
	})
}

func newRegistry(t testing.TB, socket string) *registry {
	t.Helper()
	r := &registry{log: feed.NewLog[*vtepsv1.Vtep](4096), socket: socket}
	server := daemon.NewServer()
	vtepsv1.RegisterVtepsServiceServer(server, r)
	r.stop = inBackground(t, func(ctx context.Context) error { return server.ServeSocket(ctx, socket) })
	return r
}

// inBackground runs until the test ends, or stop is called.
func inBackground(t testing.TB, run func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func (r *registry) put(t testing.TB, node, ip string, cidrs ...string) {
	t.Helper()
	r.log.Set(t.Context(), node, &vtepsv1.Vtep{Node: node, Ip: ip, PodCidrs: cidrs, State: vtepsv1.State_STATE_ADMITTED})
}

// remember puts in a node that the registry only remembers.
func (r *registry) remember(t testing.TB, node, ip string, cidrs ...string) {
	t.Helper()
	r.log.Set(t.Context(), node, &vtepsv1.Vtep{Node: node, Ip: ip, PodCidrs: cidrs, State: vtepsv1.State_STATE_ADMITTED, Stale: true})
}

// both registers the two nodes.
func (r *registry) both(t testing.TB) {
	t.Helper()
	for i := 1; i <= 2; i++ {
		r.put(t, fmt.Sprint("node", i), nodeIP(i), podNet(i))
	}
	r.log.MarkSynced()
}

// dataplane starts the dataplane as a process in the gateway's namespace.
func (w *world) dataplane(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	c := w.command(args...)
	c.Stderr = testWriter{t}
	w.gateway.Start(t, c)
	return c
}

// command is how the dataplane is started.
func (w *world) command(args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", append([]string{"--socket-dir=" + w.dir, "--http-listen=127.0.0.1:9813", "--gateway-id=gw", "--vpc-cidrs=10.0.0.0/16"}, args...)...)
	c.Env = append(os.Environ(), asDataplane+"=1")
	return c
}

// inEachMode runs a test for both ways of programming, with the flag for it.
func inEachMode(t *testing.T, test func(t *testing.T, mode string)) {
	t.Helper()
	for _, mode := range []string{config.ProgrammingNode, config.ProgrammingFlow} {
		t.Run(mode, func(t *testing.T) { test(t, programming(mode)) })
	}
}

func programming(mode string) string { return "--programming=" + mode }

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// state reads the tunnel's state until it satisfies ok.
func (w *world) state(t testing.TB, what string, ok func(*tunnelv1.Tunnel) bool) *tunnelv1.Tunnel {
	t.Helper()
	conn, err := daemon.Dial(filepath.Join(w.dir, daemon.Dataplane+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last *tunnelv1.Tunnel
	for ctx.Err() == nil {
		stream, err := tunnelv1.NewTunnelServiceClient(conn).Watch(ctx, &tunnelv1.WatchRequest{}, grpc.WaitForReady(true))
		if err != nil {
			continue
		}
		for {
			m, err := stream.Recv()
			if err != nil {
				break
			}
			if m.GetTunnel() != nil {
				last = m.GetTunnel()
			}
			if last != nil && ok(last) {
				return last
			}
		}
	}
	t.Fatalf("the tunnel did not become %s; it is %v", what, last)
	return nil
}

func (w *world) ready(t testing.TB, vteps uint32) *tunnelv1.Tunnel {
	t.Helper()
	return w.state(t, "ready", func(s *tunnelv1.Tunnel) bool { return s.GetReady() && s.GetVteps() == vteps })
}

// get asks the dataplane's HTTP port, as soon as it listens: that may be after the Tunnel stream has told something.
func (w *world) get(t testing.TB, path string) string {
	t.Helper()
	var conn net.Conn
	eventually(t, "the HTTP port is open", func() bool {
		return w.gateway.Do(func() (err error) { conn, err = net.Dial("tcp", "127.0.0.1:9813"); return err }) == nil
	})
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	body, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
