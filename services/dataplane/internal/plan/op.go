package plan

import (
	"fmt"
	"net/netip"
)

// Op is one change of the kernel. It prints as one line. Carrying it out twice does what carrying it out once does.
type Op interface {
	fmt.Stringer
	kind() string
}

// Kind is the op's name in metrics.
func Kind(o Op) string { return o.kind() }

// The device operations. They come first in a plan; when one of them fails the tunnel is not ready.
type (
	// AddDevice creates the device, down.
	AddDevice struct {
		Device Device
		MTU    int
	}
	// DeleteDevice removes a device of our name that cannot be adopted.
	DeleteDevice struct {
		Name   string
		Reason string
	}
	// SetLocal changes the outer source address.
	SetLocal struct {
		Name  string
		Local netip.Addr
	}
	// SetNoLearning stops the device from learning remotes from traffic.
	SetNoLearning struct{ Name string }
	// SetMTU changes the device's MTU.
	SetMTU struct {
		Name string
		MTU  int
	}
	// SetMAC changes the device's address. The kernel forgets the device's neighbours with it.
	SetMAC struct {
		Name string
		MAC  MAC
	}
	// SetConf changes per-device settings.
	SetConf struct {
		Name string
		Conf Conf
	}
	// SetUp brings the device up.
	SetUp struct{ Name string }
	// SetForwarding sets net.ipv4.ip_forward=1.
	SetForwarding struct{}
)

// The entry operations.
type (
	// SetFDB creates or replaces the entry of a MAC.
	SetFDB struct {
		MAC    MAC
		Remote netip.Addr
	}
	// DeleteFDB removes all entries of a MAC.
	DeleteFDB struct{ MAC MAC }
	// SetNeighbour creates or replaces a neighbour.
	SetNeighbour struct {
		Addr netip.Addr
		MAC  MAC
	}
	// DeleteNeighbour removes a neighbour.
	DeleteNeighbour struct{ Addr netip.Addr }
	// AddRoute creates a route, and fails when there is one with the same destination and metric.
	AddRoute struct{ Route Route }
	// ReplaceRoute puts a route in the place of ours with the same destination and metric, in one step.
	ReplaceRoute struct{ Route Route }
	// DeleteRoute removes exactly this route.
	DeleteRoute struct{ Route Route }
)

func (AddDevice) kind() string       { return "device-add" }
func (DeleteDevice) kind() string    { return "device-delete" }
func (SetLocal) kind() string        { return "device-set" }
func (SetNoLearning) kind() string   { return "device-set" }
func (SetMTU) kind() string          { return "device-set" }
func (SetMAC) kind() string          { return "device-set" }
func (SetConf) kind() string         { return "device-set" }
func (SetUp) kind() string           { return "device-set" }
func (SetForwarding) kind() string   { return "forwarding-set" }
func (SetFDB) kind() string          { return "fdb-set" }
func (DeleteFDB) kind() string       { return "fdb-delete" }
func (SetNeighbour) kind() string    { return "neighbour-set" }
func (DeleteNeighbour) kind() string { return "neighbour-delete" }
func (AddRoute) kind() string        { return "route-add" }
func (ReplaceRoute) kind() string    { return "route-replace" }
func (DeleteRoute) kind() string     { return "route-delete" }

func (o AddDevice) String() string {
	d := o.Device
	vni := fmt.Sprintf("vni %d", d.VNI)
	if d.Flow {
		vni = "external"
	}
	return fmt.Sprintf("device add %s %s port %d local %s mac %s mtu %d", d.Name, vni, d.Port, d.Local, d.MAC, o.MTU)
}
func (o DeleteDevice) String() string  { return fmt.Sprintf("device delete %s: %s", o.Name, o.Reason) }
func (o SetLocal) String() string      { return fmt.Sprintf("device set %s local %s", o.Name, o.Local) }
func (o SetNoLearning) String() string { return fmt.Sprintf("device set %s nolearning", o.Name) }
func (o SetMTU) String() string        { return fmt.Sprintf("device set %s mtu %d", o.Name, o.MTU) }
func (o SetMAC) String() string        { return fmt.Sprintf("device set %s mac %s", o.Name, o.MAC) }
func (o SetConf) String() string {
	mode := "eui64"
	if o.Conf.AddrGenNone {
		mode = "none"
	}
	return fmt.Sprintf("device set %s forwarding %d rp_filter %d send_redirects %d addrgenmode %s",
		o.Name, o.Conf.Forwarding, o.Conf.RPFilter, o.Conf.SendRedirects, mode)
}
func (o SetUp) String() string           { return fmt.Sprintf("device set %s up", o.Name) }
func (o SetForwarding) String() string   { return "sysctl set net.ipv4.ip_forward 1" }
func (o SetFDB) String() string          { return fmt.Sprintf("fdb set %s dst %s", o.MAC, o.Remote) }
func (o DeleteFDB) String() string       { return fmt.Sprintf("fdb delete %s", o.MAC) }
func (o SetNeighbour) String() string    { return fmt.Sprintf("neighbour set %s mac %s", o.Addr, o.MAC) }
func (o DeleteNeighbour) String() string { return fmt.Sprintf("neighbour delete %s", o.Addr) }
func (o AddRoute) String() string        { return "route add " + o.Route.String() }
func (o ReplaceRoute) String() string    { return "route replace " + o.Route.String() }
func (o DeleteRoute) String() string     { return "route delete " + o.Route.String() }

// ForDevice tells whether the tunnel as a whole depends on this op, rather than one VTEP.
func ForDevice(o Op) bool {
	switch o.(type) {
	case SetFDB, DeleteFDB, SetNeighbour, DeleteNeighbour, AddRoute, ReplaceRoute, DeleteRoute, Admit, Expel, SetClamp, DeleteClamp:
		return false
	}
	return true
}

// Failure is an operation that failed, and why; in the error is the way to mend it, where there is one.
type Failure struct {
	Op  Op
	Err error
}

func (f Failure) Error() string { return fmt.Sprintf("%s: %v", f.Op, f.Err) }

// Unwrap gives the reason.
func (f Failure) Unwrap() error { return f.Err }
