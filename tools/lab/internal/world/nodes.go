package world

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// AddNode adds an on-premises node, with one pod in each of its pod CIDRs
// (pod1, pod2, …; the tenth address). Telling Kubernetes is the caller's. The
// name is at most 13 characters.
func (w *World) AddNode(s onprem.Spec) (*onprem.Node, error) {
	if _, err := w.Node(s.Name); err == nil {
		return nil, fmt.Errorf("add node %s: exists already", s.Name)
	}
	h, err := netns.Create(w.options.Prefix + s.Name)
	if err != nil {
		return nil, err
	}
	n, err := w.buildNode(h, s)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("add node %s: %w", s.Name, err), h.Close())
	}
	for i, cidr := range s.PodCIDRs {
		if _, err := w.AddPod(n, fmt.Sprintf("pod%d", i+1), PodAddr(cidr)); err != nil {
			return nil, errors.Join(fmt.Errorf("add node %s: %w", s.Name, err), netns.Destroy(n.Hosts()...))
		}
	}
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	return n, nil
}

func (w *World) buildNode(h *netns.Host, s onprem.Spec) (*onprem.Node, error) {
	if err := h.Quiet(); err != nil {
		return nil, err
	}
	if err := w.WAN.Attach(s.Name, h, s.IP); err != nil {
		return nil, err
	}
	return onprem.New(h, s)
}

// AddPod adds a pod to a node, with a name that is unique on the node and at
// most 12 characters long.
func (w *World) AddPod(n *onprem.Node, name string, ip netip.Addr) (*onprem.Pod, error) {
	return n.AddPod(w.options.Prefix+n.Name+"-"+name, name, ip)
}

// RemoveNode takes a node and its pods away, as if its power were cut for good.
func (w *World) RemoveNode(name string) error {
	n, err := w.Node(name)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.nodes = slices.DeleteFunc(w.nodes, func(o *onprem.Node) bool { return o == n })
	w.mu.Unlock()
	return errors.Join(w.WAN.Detach(name), netns.Destroy(n.Hosts()...))
}

// Node finds an on-premises node by name.
func (w *World) Node(name string) (*onprem.Node, error) {
	for _, n := range w.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q in the world", name)
}

// Nodes lists the on-premises nodes, in the order they were added.
func (w *World) Nodes() []*onprem.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes)
}
