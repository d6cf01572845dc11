package wan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

const (
	relayDevice   = "delay0"
	relayTable    = 200
	relayPriority = 100
	relayQueue    = 65536 // packets under way; more are dropped
)

// relay delays packets. The kernel here has no queueing discipline for that,
// so packets between VPC and nodes are routed to a TUN device, wait in this
// process, and go back to the kernel, which then routes them to their real
// destination. Their order is kept.
type relay struct {
	host  *netns.Host
	tun   *os.File
	delay atomic.Int64 // nanoseconds
	rules []*netlink.Rule
	done  sync.WaitGroup
	quit  chan struct{}
}

// held is a packet under way.
type held struct {
	due    time.Time
	packet []byte
}

func startRelay(c Config, d time.Duration) (_ *relay, err error) {
	r := &relay{host: c.Host, quit: make(chan struct{})}
	r.setDelay(d)
	if r.tun, err = openTun(c.Host); err != nil {
		return nil, err
	}
	queue := make(chan held, relayQueue)
	r.done.Go(func() { r.read(queue) })
	r.done.Go(func() { r.write(queue) })
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	if err := c.Host.SetUp(relayDevice, true); err != nil {
		return nil, err
	}
	l, err := c.Host.Link(relayDevice)
	if err != nil {
		return nil, err
	}
	if err := c.Host.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: l.Attrs().Index, Table: relayTable, Scope: netlink.SCOPE_LINK,
		Dst: netns.IPNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
	}); err != nil {
		return nil, fmt.Errorf("route to %s: %w", relayDevice, err)
	}
	return r, r.divert(c)
}

// divert sends packets between VPC and nodes into the relay; those that come
// out of it, and those between nodes, are routed as usual.
func (r *relay) divert(c Config) error {
	onPrem := netns.IPNet(c.OnPrem)
	for _, m := range []struct {
		priority, table int
		in              string
		src, dst        *net.IPNet
	}{
		{relayPriority, unix.RT_TABLE_MAIN, relayDevice, nil, nil},
		{relayPriority + 1, unix.RT_TABLE_MAIN, "", onPrem, onPrem},
		{relayPriority + 2, relayTable, VPCDevice, nil, nil},
		{relayPriority + 2, relayTable, "", onPrem, nil},
	} {
		rule := netlink.NewRule()
		rule.Family, rule.Priority, rule.Table = netlink.FAMILY_V4, m.priority, m.table
		rule.IifName, rule.Src, rule.Dst = m.in, m.src, m.dst
		if err := r.host.Netlink().RuleAdd(rule); err != nil {
			return fmt.Errorf("divert to %s: %w", relayDevice, err)
		}
		r.rules = append(r.rules, rule)
	}
	return nil
}

func openTun(h *netns.Host) (*os.File, error) {
	var f *os.File
	err := h.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(relayDevice)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		f = os.NewFile(uintptr(fd), relayDevice)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", relayDevice, h.Name(), err)
	}
	return f, nil
}

func (r *relay) setDelay(d time.Duration) { r.delay.Store(int64(d)) }

// read takes packets from the kernel until the device is closed.
func (r *relay) read(queue chan<- held) {
	defer close(queue)
	buf := make([]byte, 65536)
	for {
		n, err := r.tun.Read(buf)
		if err != nil {
			return
		}
		h := held{due: time.Now().Add(time.Duration(r.delay.Load())), packet: slices.Clone(buf[:n])}
		select {
		case queue <- h:
		default: // the line is full
		}
	}
}

// write gives packets back to the kernel when their time has come.
func (r *relay) write(queue <-chan held) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for h := range queue {
		if wait := time.Until(h.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-r.quit:
			}
		}
		// A packet the kernel refuses is a packet lost on the way.
		_, _ = r.tun.Write(h.packet)
	}
}

// stop takes the relay out of the path. Nothing is sent into it any more
// before it goes.
func (r *relay) stop() error {
	var errs []error
	for _, rule := range slices.Backward(r.rules) {
		if err := r.host.Netlink().RuleDel(rule); err != nil {
			errs = append(errs, fmt.Errorf("undo diversion to %s: %w", relayDevice, err))
		}
	}
	close(r.quit)
	errs = append(errs, r.tun.Close())
	r.done.Wait()
	return errors.Join(errs...)
}
