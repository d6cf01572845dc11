package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Watcher tells what changes in the kernel's network. See [Kernel.Watch] and [Kernel.WatchGuard].
type Watcher struct {
	file  *os.File
	guard bool   // it is nftables that is watched
	own   uint32 // port of the connection whose doings are not told
	names map[int32]string
	buf   []byte
}

// Watch subscribes to the changes of links, addresses, forwarding settings, FDB, neighbours and main-table
// routes. Changes from now on are told by Run; what Apply itself does to neighbours and routes is left out.
func (k *Kernel) Watch() (*Watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket for notifications: %w", os.NewSyscallError("socket", err))
	}
	w := &Watcher{file: os.NewFile(uintptr(fd), "rtnetlink"), own: k.conn.port, names: map[int32]string{}, buf: make([]byte, 64<<10)}
	if err := w.subscribe(fd, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_NETCONF); err != nil {
		w.file.Close()
		return nil, fmt.Errorf("subscribe to notifications: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	links, err := k.dumpLinks()
	if err != nil {
		w.file.Close()
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	for index, l := range links {
		w.names[index] = l.plan.Name
	}
	return w, nil
}

// WatchGuard subscribes to the changes of the packet guard, our own included.
func (k *Kernel) WatchGuard() (*Watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a socket for notifications of nftables: %w", explainGuard(os.NewSyscallError("socket", err)))
	}
	w := &Watcher{file: os.NewFile(uintptr(fd), "nfnetlink"), guard: true, buf: make([]byte, 64<<10)}
	// Without NET_ADMIN no guard can be made either, and whoever tries will say so.
	if err := w.subscribe(fd, unix.NFNLGRP_NFTABLES); err != nil && !errors.Is(err, unix.EPERM) {
		w.file.Close()
		return nil, fmt.Errorf("subscribe to notifications of nftables: %w", explainGuard(err))
	}
	return w, nil
}

func (w *Watcher) subscribe(fd int, groups ...int) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return os.NewSyscallError("setsockopt NETLINK_ADD_MEMBERSHIP", err)
		}
	}
	return growReceiveBuffer(fd)
}

// Run sends the changes to out until ctx ends. Where the receiver is too slow the kernel drops notifications, and a
// change of kind ChangeLost stands for what was dropped.
func (w *Watcher) Run(ctx context.Context, out chan<- plan.Change) error {
	stop := context.AfterFunc(ctx, func() { w.file.Close() })
	defer func() {
		if stop() {
			w.file.Close()
		}
	}()
	for {
		n, err := w.read()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var changes []plan.Change
		switch {
		case errors.Is(err, unix.ENOBUFS):
			changes = []plan.Change{{Kind: plan.ChangeLost}}
		case err != nil:
			return fmt.Errorf("receive notifications from the kernel: %w", err)
		default:
			changes = w.parse(w.buf[:n])
		}
		for _, c := range changes {
			select {
			case out <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Close ends the subscription of a watcher that was not run.
func (w *Watcher) Close() { w.file.Close() }

func (w *Watcher) read() (n int, err error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, _, readErr = unix.Recvfrom(int(fd), w.buf, 0)
		return !errors.Is(readErr, unix.EAGAIN) && !errors.Is(readErr, unix.EINTR)
	})
	if err != nil {
		return 0, err
	}
	return n, readErr
}

func (w *Watcher) parse(datagram []byte) []plan.Change {
	var changes []plan.Change
	for rest := datagram; len(rest) >= unix.SizeofNlMsghdr; {
		n := int(binary.NativeEndian.Uint32(rest))
		if n < unix.SizeofNlMsghdr || n > len(rest) {
			return append(changes, plan.Change{Kind: plan.ChangeLost})
		}
		typ, port := binary.NativeEndian.Uint16(rest[4:]), binary.NativeEndian.Uint32(rest[12:])
		body := rest[unix.SizeofNlMsghdr:n]
		rest = rest[min((n+3)&^3, len(rest)):]
		if w.guard {
			changes = append(changes, guardChanges(typ, body)...)
			continue
		}
		c, ok, err := w.change(typ, body)
		switch {
		case err != nil:
			changes = append(changes, plan.Change{Kind: plan.ChangeLost})
		case ok && (port != w.own || c.Kind == plan.ChangeLink || c.Kind == plan.ChangeHost):
			changes = append(changes, c)
		}
	}
	return changes
}

// change translates one notification; ok is false for one that is of no interest to anybody.
func (w *Watcher) change(typ uint16, body []byte) (c plan.Change, ok bool, err error) {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		// Bridge ports are told with family AF_BRIDGE; what they are as interfaces is told separately.
		if len(body) > 0 && body[0] == unix.AF_BRIDGE {
			return c, false, nil
		}
		l, err := parseLink(body)
		w.names[l.index] = l.plan.Name
		if typ == unix.RTM_DELLINK {
			delete(w.names, l.index)
		}
		return plan.Change{Kind: plan.ChangeLink, Gone: typ == unix.RTM_DELLINK, Device: l.plan.Name, VXLAN: l.plan.Kind == kindVXLAN}, true, err
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, err := parseAddress(body)
		return plan.Change{Kind: plan.ChangeHost, Gone: typ == unix.RTM_DELADDR, Addr: a.addr}, true, err
	case unix.RTM_NEWNETCONF:
		return w.confChange(body)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		e, err := parseEntry(body)
		if err != nil || (e.family != unix.AF_INET && e.family != unix.AF_BRIDGE) {
			return c, false, err
		}
		c = plan.Change{Kind: plan.ChangeNeighbour, Gone: typ == unix.RTM_DELNEIGH, Device: w.names[e.index], MAC: e.mac, Addr: e.addr, Permanent: e.permanent}
		if e.family == unix.AF_BRIDGE {
			c.Kind = plan.ChangeFDB
		}
		return c, true, nil
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, err := parseRoute(body)
		if err != nil || r.local || r.table != unix.RT_TABLE_MAIN {
			return c, false, err
		}
		r.plan.Dev = w.names[r.index]
		return plan.Change{Kind: plan.ChangeRoute, Gone: typ == unix.RTM_DELROUTE, Route: r.plan}, true, nil
	}
	return c, false, nil
}

// confChange translates a change of forwarding or rp_filter. Device is "all" for net.ipv4.conf.all.
func (w *Watcher) confChange(body []byte) (c plan.Change, ok bool, err error) {
	c.Kind = plan.ChangeHost
	err = attrs(body[min(4, len(body)):], func(typ uint16, v []byte) {
		if typ != netconfaIfindex {
			return
		}
		if index := u32(v); index == netconfaAll {
			c.Device = "all"
		} else {
			c.Device = w.names[int32(index)]
		}
	})
	return c, c.Device != "", err
}
