package world

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/hybridgateway/gateway/tools/lab/internal/fabric"
	"github.com/hybridgateway/gateway/tools/lab/internal/wan"
)

// Partition makes two hosts (VPC hosts or nodes) unable to reach each other.
// Their packets vanish; nobody is told.
func (w *World) Partition(a, b string) error {
	return errors.Join(w.setCut(a, b, true), w.setCut(b, a, true))
}

// Heal undoes Partition and Cut between two hosts.
func (w *World) Heal(a, b string) error {
	return errors.Join(w.setCut(a, b, false), w.setCut(b, a, false))
}

// Cut makes packets vanish in one direction.
func (w *World) Cut(from, to string) error { return w.setCut(from, to, true) }

// HealAll undoes all partitions and cuts.
func (w *World) HealAll() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cuts)
	return w.writeCuts()
}

func (w *World) setCut(from, to string, cut bool) error {
	a, err := w.addrOf(from)
	if err != nil {
		return err
	}
	b, err := w.addrOf(to)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if cut {
		w.cuts[[2]netip.Addr{a, b}] = true
	} else {
		delete(w.cuts, [2]netip.Addr{a, b})
	}
	return w.writeCuts()
}

// writeCuts tells both networks: what one does not see, the other drops.
func (w *World) writeCuts() error {
	var inVPC []fabric.Pair
	var inWAN []wan.Pair
	for c := range w.cuts {
		inVPC = append(inVPC, fabric.Pair{From: c[0], To: c[1]})
		inWAN = append(inWAN, wan.Pair{From: c[0], To: c[1]})
	}
	return errors.Join(w.Fabric.SetCuts(inVPC), w.WAN.SetCuts(inWAN))
}

func (w *World) addrOf(name string) (netip.Addr, error) {
	if m, err := w.Machine(name); err == nil {
		return m.IP, nil
	}
	if n, err := w.Node(name); err == nil {
		return n.IP, nil
	}
	return netip.Addr{}, fmt.Errorf("no VPC host or node %q in the world", name)
}

// SetWANMTU sets the MTU of the link between VPC and WAN, in bytes.
func (w *World) SetWANMTU(mtu int) error {
	h, err := w.Host("fabric")
	if err != nil {
		return err
	}
	return w.WAN.SetMTU(h, fabric.WANPort, mtu)
}
