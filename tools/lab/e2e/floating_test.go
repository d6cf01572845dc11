package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// The lab of this test has names that are not those of the others.
const (
	floatingTestDir    = "/run/hgw-e2e-floating"
	floatingTestPrefix = "hgf-"
)

// TestPrivilegedFloating runs everything with a stock Cilium, which has no CiliumVTEPConfig
// and is set up once: whatever happens to gateways, nothing changes on a node.
func TestPrivilegedFloating(t *testing.T) {
	s := up(t, lab.Options{Prefix: floatingTestPrefix, Dir: floatingTestDir, VTEPMode: lab.Floating})
	var watches []*nodeWatch
	for _, n := range s.World.Nodes() {
		watches = append(watches, watchNode(t, n))
	}
	t.Run("set-up", s.testCiliumIsSetUp)
	s.all(t)
	for _, w := range watches {
		if changes := w.stop(); len(changes) > 0 {
			t.Errorf("node %s was changed %d times, first: %s", w.node.Name, len(changes), changes[0])
		}
	}
	t.Run("a change would be seen", s.testChangesAreSeen)
	t.Run("history of the record", s.testHistory)
}

// nodeWatch takes down what changes in the kernel of a node: its routes, of all tables, and
// the neighbours of its tunnel.
type nodeWatch struct {
	node       *onprem.Node
	done       chan struct{}
	routes     chan netlink.RouteUpdate
	neighbours chan netlink.NeighUpdate
	ended      chan struct{}

	mu      sync.Mutex
	changes []string
}

func watchNode(t *testing.T, n *onprem.Node) *nodeWatch {
	t.Helper()
	w := &nodeWatch{
		node: n, done: make(chan struct{}), ended: make(chan struct{}), routes: make(chan netlink.RouteUpdate), neighbours: make(chan netlink.NeighUpdate),
	}
	link, err := n.Host.Link(onprem.TunnelDevice)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Host.Do(func() error {
		return errors.Join(netlink.RouteSubscribe(w.routes, w.done), netlink.NeighSubscribe(w.neighbours, w.done))
	}); err != nil {
		t.Fatal(err)
	}
	go w.collect(link.Attrs().Index)
	return w
}

func (w *nodeWatch) collect(tunnel int) {
	defer close(w.ended)
	for w.routes != nil || w.neighbours != nil {
		select {
		case u, open := <-w.routes:
			if !open {
				w.routes = nil
				continue
			}
			w.note(fmt.Sprintf("route %v", u.Route))
		case u, open := <-w.neighbours:
			switch {
			case !open:
				w.neighbours = nil
			case u.LinkIndex == tunnel:
				w.note(fmt.Sprintf("neighbour %v", u.Neigh))
			}
		}
	}
}

func (w *nodeWatch) note(change string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, change)
}

func (w *nodeWatch) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// stop ends the watch and tells what it has seen.
func (w *nodeWatch) stop() []string {
	close(w.done)
	<-w.ended
	return w.seen()
}

// testChangesAreSeen takes a node's VTEPs away, as no gateway did.
func (s *suite) testChangesAreSeen(t *testing.T) {
	w := watchNode(t, s.World.Nodes()[0])
	defer w.stop()
	if err := w.node.SetVTEPs(nil); err != nil {
		t.Fatal(err)
	}
	if err := lab.Poll(within(t), "the change to be seen", func(context.Context) error {
		if len(w.seen()) < 2 { // a route and a neighbour
			return fmt.Errorf("seen: %v", w.seen())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// testCiliumIsSetUp expects that the gateways find nothing to complain about, and tell the
// operator so.
func (s *suite) testCiliumIsSetUp(t *testing.T) {
	for _, g := range s.Gateways {
		err := lab.Poll(within(t), g.Name+" to be content with Cilium", func(ctx context.Context) error {
			out, err := s.hgctl(ctx, g, "vteps", "publication")
			if err != nil {
				return err
			}
			for _, want := range []string{"Floating: ", "(none)", `vtep-endpoint: "198.18.0.10"`} {
				if !strings.Contains(out, want) {
					return fmt.Errorf("no %q in %s", want, out)
				}
			}
			if strings.Contains(out, "!") {
				return fmt.Errorf("it complains: %s", out)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// hgctl runs it as an operator of a gateway.
func (s *suite) hgctl(ctx context.Context, g *gateway.Gateway, args ...string) (string, error) {
	cmd := s.Operator.Seat.Command(ctx, filepath.Join(s.Options.BinDir, "hgctl"), args...)
	cmd.Env = lab.OperatorEnv(s.Options.Dir, g.Name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("hgctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// testFloatingDrift takes away what leads to the address.
func (s *suite) testFloatingDrift(t *testing.T) {
	t.Run("route to the VTEP deleted", func(t *testing.T) {
		s.healthy(t)
		if err := s.EC2.RemoveRoute(lab.FloatingTable, lab.FloatingVTEP); err != nil {
			t.Fatal(err)
		}
		s.healthy(t)
	})
	t.Run("address of the VTEP deleted", func(t *testing.T) {
		h := s.healthy(t)
		lo, err := h.Active.Host.Link("lo")
		if err != nil {
			t.Fatal(err)
		}
		nl := h.Active.Host.Netlink()
		if err := nl.AddrDel(lo, carried(t, h.Active)); err != nil {
			t.Fatal(err)
		}
		err = lab.Poll(within(t), "the address to be back", func(context.Context) error {
			if carried(t, h.Active) == nil {
				return errors.New("it is away")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		s.healthy(t)
		pair := s.probes(t)
		received(t, pair, 20)
		lostNothing(t, pair)
	})
}

// carried is the address that every gateway carries, as a gateway has it; nil when it has not.
func carried(t *testing.T, g *gateway.Gateway) *netlink.Addr {
	t.Helper()
	lo, err := g.Host.Link("lo")
	if err != nil {
		t.Fatal(err)
	}
	list, err := g.Host.Netlink().AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.IPNet.String() == lab.FloatingVTEP.String() {
			return &a
		}
	}
	return nil
}
