package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Dump reads everything that the plan for this device needs: each table once, however many entries it has.
func (k *Kernel) Dump() (plan.Actual, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var a plan.Actual
	links, err := k.dumpLinks()
	if err != nil {
		return a, fmt.Errorf("list the interfaces: %w", err)
	}
	holder, err := k.dumpHost(&a.Host)
	if err != nil {
		return a, fmt.Errorf("list the addresses: %w", err)
	}
	if err := k.dumpRoutes(&a, links); err != nil {
		return a, fmt.Errorf("list the routes: %w", err)
	}
	if a.Host.Forwarding, a.Host.AllRPFilter, err = k.dumpAllConf(); err != nil {
		return a, fmt.Errorf("read net.ipv4.conf.all: %w", err)
	}
	a.Host.Release = release()
	a.Host.ForwardPMTU, a.Host.ForwardPMTUFixed = k.forwardPMTU.on(), k.forwardPMTU.fixed != nil
	if a.Guard, a.Clamp, err = k.guard.dump(); err != nil {
		return a, fmt.Errorf("read the tables of nftables: %w", err)
	}
	a.Host.NIC = findNIC(links, holder, a.Routes)
	for _, l := range links {
		switch {
		case l.plan.Name == k.config.Device:
			found := l.plan
			a.Link = &found
			if err := k.dumpEntries(&a, l.index); err != nil {
				return a, fmt.Errorf("list the entries of %s: %w", l.plan.Name, err)
			}
		case l.plan.Kind == kindVXLAN:
			a.Rivals = append(a.Rivals, plan.Rival{Name: l.plan.Name, VNI: l.plan.VNI, Port: l.plan.Port, FlowBased: l.plan.FlowBased, Up: l.plan.Up})
		}
	}
	return a, nil
}

// release is the kernel's; empty when it does not say.
func release() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

func (k *Kernel) dumpLinks() (map[int32]link, error) {
	var links map[int32]link
	err := k.conn.get(
		func() *message { return newMessage(unix.RTM_GETLINK, unix.NLM_F_DUMP).ifinfo(0, 0, 0) },
		func() { links = map[int32]link{} },
		func(typ uint16, body []byte) error {
			l, err := parseLink(body)
			if err == nil && typ == unix.RTM_NEWLINK {
				links[l.index] = l
			}
			return err
		})
	return links, err
}

// findNIC is the interface that holds the local address, or the one of the default route when the address is on the
// loopback interface.
func findNIC(links map[int32]link, holder int32, routes map[netip.Prefix][]plan.Route) *plan.NIC {
	l, ok := links[holder]
	if !ok {
		return nil
	}
	if l.loopback {
		best, ok := defaultRoute(routes)
		if !ok {
			return nil
		}
		for _, other := range links {
			if other.plan.Name == best.Dev {
				l = other
			}
		}
	}
	return &plan.NIC{Name: l.plan.Name, MTU: l.plan.MTU, Forwarding: l.plan.Conf.Forwarding != 0, RPFilter: l.plan.Conf.RPFilter}
}

func defaultRoute(routes map[netip.Prefix][]plan.Route) (best plan.Route, ok bool) {
	for _, r := range routes[netip.PrefixFrom(netip.IPv4Unspecified(), 0)] {
		if r.Dev != "" && (!ok || r.Metric < best.Metric) {
			best, ok = r, true
		}
	}
	return best, ok
}

func (k *Kernel) dumpRoutes(a *plan.Actual, links map[int32]link) error {
	return k.conn.get(
		func() *message {
			return newMessage(unix.RTM_GETROUTE, unix.NLM_F_DUMP).rtmsg(0, unix.RT_TABLE_MAIN, 0, 0, 0, 0)
		},
		func() { a.Routes = map[netip.Prefix][]plan.Route{} },
		func(_ uint16, body []byte) error {
			r, err := parseRoute(body)
			if err != nil || r.local || r.table != unix.RT_TABLE_MAIN {
				return err
			}
			r.plan.Dev = links[r.index].plan.Name
			a.Routes[r.plan.Dst] = append(a.Routes[r.plan.Dst], r.plan)
			return nil
		})
}

func (k *Kernel) dumpAllConf() (forwarding bool, rpFilter int, err error) {
	err = k.conn.get(
		func() *message {
			return newMessage(unix.RTM_GETNETCONF, 0).raw(unix.AF_INET).attr32(netconfaIfindex, netconfaAll)
		},
		func() {},
		func(_ uint16, body []byte) error {
			return attrs(body[min(4, len(body)):], func(typ uint16, v []byte) {
				switch typ {
				case netconfaForwarding:
					forwarding = u32(v) != 0
				case netconfaRPFilter:
					rpFilter = int(u32(v))
				}
			})
		})
	return forwarding, rpFilter, err
}

func (k *Kernel) dumpEntries(a *plan.Actual, index int32) error {
	dump := func(family uint8, begin func(), each func(e entry)) error {
		build := func() *message {
			return newMessage(unix.RTM_GETNEIGH, unix.NLM_F_DUMP).ndmsg(family, 0, 0, 0).attr32(unix.NDA_IFINDEX, uint32(index))
		}
		err := k.conn.get(build, begin, func(_ uint16, body []byte) error {
			e, err := parseEntry(body)
			if err == nil && e.index == index && e.family == family {
				each(e)
			}
			return err
		})
		if errors.Is(err, unix.ENODEV) {
			return nil // the device went away meanwhile
		}
		return err
	}
	err := dump(unix.AF_BRIDGE, func() { a.FDB = map[plan.MAC][]plan.FDBEntry{} }, func(e entry) {
		a.FDB[e.mac] = append(a.FDB[e.mac], plan.FDBEntry{Remote: e.addr, Permanent: e.permanent, Odd: e.odd})
	})
	if err != nil {
		return fmt.Errorf("fdb: %w", err)
	}
	err = dump(unix.AF_INET, func() { a.Neighbours = map[netip.Addr]plan.Neighbour{} }, func(e entry) {
		a.Neighbours[e.addr] = plan.Neighbour{MAC: e.mac, Permanent: e.permanent}
	})
	if err != nil {
		return fmt.Errorf("neighbours: %w", err)
	}
	return nil
}
