package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Config says which packets are the tunnel's.
type Config struct {
	Device plan.Device
	Node   netip.Addr     // the host's own address; may be Device.Local
	VPC    []netip.Prefix // where packets out of the tunnel may go
}

// FastPath is the program, attached or not. Its methods are not safe for concurrent use, but for [FastPath.Counters].
type FastPath struct {
	config    Config
	spec      *ebpf.CollectionSpec
	namespace *os.File // of the thread that called Open
	socket    int      // in that namespace, to ask for interfaces
	maps      programMaps
	link      link.Link // nil while not attached
	at        place
}

// place is what the attached program was made for.
type place struct {
	nic, tunnel uint32 // interface indexes
	outerTTL    uint8
	outerDF     bool
	ports       portRange
	unwrapLarge bool
}

type portRange struct{ from, to uint16 } // to is excluded

// Open loads the program, for the network namespace of the calling thread, and tests it on sample packets. The error says what the kernel, or this
// process, lacks.
func Open(c Config) (*FastPath, error) {
	spec, err := loadProgram()
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	if err := selfTest(spec, c); err != nil {
		return nil, err
	}
	f := &FastPath{config: c, spec: spec, socket: -1}
	if err := f.open(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *FastPath) open() (err error) {
	if f.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	if f.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open a socket: %w", os.NewSyscallError("socket", err))
	}
	if err := f.spec.Copy().LoadAndAssign(&f.maps, nil); err != nil {
		return explain("make the maps", err)
	}
	return allow(f.maps.Vpc, f.config.VPC)
}

// allow fills the map of the VPC's networks.
func allow(m *ebpf.Map, networks []netip.Prefix) error {
	for _, p := range networks {
		if err := m.Put(programNetwork{Bits: uint32(p.Bits()), Addr: number(p.Masked().Addr())}, uint8(1)); err != nil {
			return fmt.Errorf("add network %s of the VPC: %w", p, err)
		}
	}
	return nil
}

// Close detaches the program.
func (f *FastPath) Close() {
	_ = f.Detach()
	_ = f.maps.Close()
	if f.socket >= 0 {
		unix.Close(f.socket)
	}
	if f.namespace != nil {
		f.namespace.Close()
	}
}

// Attached tells whether packets take the fast path.
func (f *FastPath) Attached() bool { return f.link != nil }

// Attach sees to it that the program is at this NIC, for the tunnel as it is now; df tells whether routers are not to fragment outer packets. It
// changes nothing when that is so already.
func (f *FastPath) Attach(nic string, df bool) error {
	want, err := f.survey(nic)
	if err != nil {
		return err
	}
	want.outerDF = df
	if f.link != nil && f.at == want && f.alive() {
		return nil
	}
	p, err := f.load(want)
	if err != nil {
		return err
	}
	defer p.Close() // the link keeps it
	if f.link != nil && f.at.nic == want.nic && f.alive() {
		if err := f.link.Update(p); err != nil {
			return explain("replace the program at interface "+nic, err)
		}
		f.at = want
		return nil
	}
	var attached link.Link
	err = f.inNamespace(func() (err error) {
		attached, err = link.AttachTCX(link.TCXOptions{Interface: int(want.nic), Program: p, Attach: ebpf.AttachTCXIngress})
		return err
	})
	if err != nil {
		return explain("attach the program to interface "+nic, err)
	}
	_ = f.Detach() // from where it was before
	f.link, f.at = attached, want
	return nil
}

// alive tells whether the program is still attached: its interface may have gone, or somebody has detached it.
func (f *FastPath) alive() bool {
	info, err := f.link.Info()
	if err != nil || info.TCX() == nil {
		return false
	}
	return info.TCX().Ifindex == f.at.nic
}

// Detach takes the program off. Packets go the kernel's way.
func (f *FastPath) Detach() error {
	if f.link == nil {
		return nil
	}
	err := f.link.Close()
	f.link = nil
	if err != nil {
		return fmt.Errorf("detach the program: %w", err)
	}
	return nil
}

// load loads the program for a place; it shares the maps with those before.
func (f *FastPath) load(at place) (*ebpf.Program, error) {
	spec := f.spec.Copy()
	if err := configure(spec, f.config, at, netip.Addr{}); err != nil {
		return nil, err
	}
	var out programPrograms
	err := spec.LoadAndAssign(&out, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{"vpc": f.maps.Vpc, "counts": f.maps.Counts}})
	if err != nil {
		return nil, explain("load the program", err)
	}
	return out.Forward, nil
}

// configure sets the program's constants; sampleHop is for the self-test.
func configure(spec *ebpf.CollectionSpec, c Config, at place, sampleHop netip.Addr) error {
	d, hop := c.Device, uint32(0)
	if sampleHop.IsValid() {
		hop = number(sampleHop)
	}
	constants := map[string]any{
		"tunnel_ifindex": at.tunnel,
		"tunnel_mac":     d.MAC,
		"local_addr":     number(d.Local),
		"node_addr":      number(c.Node),
		"port":           network16(d.Port),
		"vni":            network32(d.VNI << 8),
		"outer_ttl":      at.outerTTL,
		"outer_df":       at.outerDF,
		"port_from":      at.ports.from,
		"port_to":        at.ports.to,
		"unwrap_large":   at.unwrapLarge,
		"sample_hop":     hop,
	}
	for name, value := range constants {
		v, ok := spec.Variables[name]
		if !ok {
			return fmt.Errorf("the program has no constant %s", name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("set %s of the program: %w", name, err)
		}
	}
	return nil
}

// number is an address as it lies in memory in a packet.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func network16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func network32(v uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, v))
}

// Counters counts the packets that took the fast path since Open: received are those out of the tunnel.
func (f *FastPath) Counters() (plan.Counters, error) {
	var c plan.Counters
	var unwrapped, wrapped []programCount
	if err := errors.Join(f.maps.Counts.Lookup(uint32(0), &unwrapped), f.maps.Counts.Lookup(uint32(1), &wrapped)); err != nil {
		return c, fmt.Errorf("read the counters of the fast path: %w", err)
	}
	for _, n := range unwrapped {
		c.RxPackets, c.RxBytes = c.RxPackets+n.Packets, c.RxBytes+n.Bytes
	}
	for _, n := range wrapped {
		c.TxPackets, c.TxBytes = c.TxPackets+n.Packets, c.TxBytes+n.Bytes
	}
	return c, nil
}

// inNamespace calls do on a thread of the namespace of Open. Entering it is needed only where a process has several, as in tests.
func (f *FastPath) inNamespace(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var own, want unix.Stat_t
		err := errors.Join(unix.Stat("/proc/thread-self/ns/net", &own), unix.Fstat(int(f.namespace.Fd()), &want))
		if err != nil {
			done <- fmt.Errorf("compare network namespaces: %w", err)
			return
		}
		if own.Ino != want.Ino {
			// The thread stays locked, and so ends with the goroutine.
			if err := unix.Setns(int(f.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
				done <- fmt.Errorf("enter the network namespace: %w", os.NewSyscallError("setns", err))
				return
			}
		} else {
			defer runtime.UnlockOSThread()
		}
		done <- do()
	}()
	return <-done
}

// explain adds what an error means here.
func explain(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: the capabilities BPF and NET_ADMIN are needed: %w", what, err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s: Linux 6.6 or later is needed: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
