package kernel

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Apply carries out the operations in their order. One that fails does not keep the others from being carried out,
// except that nothing after a device that could not be made or brought up is tried, as all of it would fail, and
// nothing after a guard that could not be made, as no tunnel is brought up without it. It returns those that failed; after a failure only Dump says what there is.
func (k *Kernel) Apply(ops []plan.Op) []plan.Failure {
	k.mu.Lock()
	defer k.mu.Unlock()
	var failures []plan.Failure
	for len(ops) > 0 {
		if !plan.ForGuard(ops[0]) && !plan.ForDevice(ops[0]) {
			n := slices.IndexFunc(ops, func(op plan.Op) bool { return plan.ForGuard(op) || plan.ForDevice(op) })
			if n < 0 {
				n = len(ops)
			}
			failures = append(failures, k.applyEntries(ops[:n])...)
			ops = ops[n:]
			continue
		}
		if err := k.applyOne(ops[0]); err != nil {
			failures = append(failures, plan.Failure{Op: ops[0], Err: err})
			if vital(ops[0]) {
				return failures
			}
		}
		ops = ops[1:]
	}
	return failures
}

func (k *Kernel) applyOne(op plan.Op) error {
	if plan.ForGuard(op) {
		return k.guard.apply(op)
	}
	return k.applyToDevice(op)
}

func vital(op plan.Op) bool {
	switch op.(type) {
	case plan.AddDevice, plan.DeleteDevice, plan.SetUp, plan.SetGuard:
		return true
	}
	return false
}

func (k *Kernel) applyToDevice(op plan.Op) error {
	switch o := op.(type) {
	case plan.SetForwarding:
		return k.forwarding.switchOn("net.ipv4.ip_forward", "the host must forward")
	case plan.SetForwardPMTU:
		return k.forwardPMTU.switchOn("net.ipv4.ip_forward_use_pmtu", "forwarding must go by the path MTU")
	case plan.AddAddress:
		return explain(k.conn.doOne(addAddress(o.Addr)))
	case plan.DeleteAddress:
		if err := k.conn.doOne(deleteAddress(o.Addr)); !errors.Is(err, unix.EADDRNOTAVAIL) {
			return explain(err)
		}
		return nil
	case plan.AddDevice:
		return explain(k.conn.doOne(addVXLAN(o.Device, o.MTU)))
	}
	l, err := k.device()
	if err != nil {
		if _, gone := op.(plan.DeleteDevice); gone && errors.Is(err, unix.ENODEV) {
			return nil
		}
		return err
	}
	var m *message
	switch o := op.(type) {
	case plan.DeleteDevice:
		m = newMessage(unix.RTM_DELLINK, 0).ifinfo(l.index, 0, 0)
	case plan.SetLocal:
		m = setLocal(l.index, o.Local)
	case plan.SetNoLearning:
		m = setNoLearning(l.index)
	case plan.SetDF:
		m = setDF(l.index, o.DF)
	case plan.SetMTU:
		m = newMessage(unix.RTM_SETLINK, 0).ifinfo(l.index, 0, 0).attr32(unix.IFLA_MTU, uint32(o.MTU))
	case plan.SetMAC:
		m = newMessage(unix.RTM_SETLINK, 0).ifinfo(l.index, 0, 0).attr(unix.IFLA_ADDRESS, o.MAC[:]...)
	case plan.SetConf:
		m = setConf(l, o.Conf)
	case plan.SetUp:
		m = newMessage(unix.RTM_SETLINK, 0).ifinfo(l.index, unix.IFF_UP, unix.IFF_UP)
	default:
		return fmt.Errorf("operation %q is unknown", op)
	}
	return explain(k.conn.doOne(m))
}

// explain adds what the kernel's error number means here.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the capability NET_ADMIN is missing: %w", err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("the UDP port is in use by another program or tunnel of this host: stop it, or use another port on all nodes: %w", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel does not support this; are the modules vxlan and, for --programming=flow, ip_tunnel there? %w", err)
	}
	return err
}

// applyEntries carries out FDB, neighbour and route operations in batches.
func (k *Kernel) applyEntries(ops []plan.Op) []plan.Failure {
	l, err := k.device()
	if err != nil && (!errors.Is(err, unix.ENODEV) || slices.ContainsFunc(ops, k.needsDevice)) {
		return []plan.Failure{{Op: ops[0], Err: err}}
	}
	requests := make([]*message, len(ops))
	for i, op := range ops {
		requests[i] = k.entryRequest(l.index, op)
	}
	errs, err := k.conn.do(requests)
	var failures []plan.Failure
	for i, op := range ops {
		if errs[i] != nil && !absent(op, errs[i]) {
			failures = append(failures, plan.Failure{Op: op, Err: explain(errs[i])})
		}
	}
	if err != nil {
		failures = append(failures, plan.Failure{Op: ops[0], Err: fmt.Errorf("and up to %d more, none of which may have been carried out: %w", len(ops)-1, err)})
	}
	return failures
}

// needsDevice tells whether an operation on an entry makes no sense without our device: all do but the removal of a route elsewhere.
func (k *Kernel) needsDevice(op plan.Op) bool {
	o, ok := op.(plan.DeleteRoute)
	return !ok || o.Route.Dev == k.config.Device
}

func (k *Kernel) entryRequest(index int32, op plan.Op) *message {
	switch o := op.(type) {
	case plan.SetFDB:
		return setFDB(index, o)
	case plan.DeleteFDB:
		return deleteFDB(index, o)
	case plan.SetNeighbour:
		return setNeighbour(index, o)
	case plan.DeleteNeighbour:
		return deleteNeighbour(index, o)
	case plan.AddRoute:
		return routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, o.Route)
	case plan.ReplaceRoute:
		return routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, o.Route)
	case plan.DeleteRoute:
		return routeMessage(unix.RTM_DELROUTE, 0, k.indexOf(index, o.Route), o.Route)
	}
	// No such operation: a message that the kernel refuses, so that the failure is reported where all others are.
	return newMessage(math.MaxUint16, 0)
}

// indexOf is the interface index in a request to delete r, 0 (any) unless it is our device's: an old route of ours may
// lie on an interface that has another index by now.
func (k *Kernel) indexOf(index int32, r plan.Route) int32 {
	if r.Dev == k.config.Device {
		return index
	}
	return 0
}

// absent tells whether a removal failed because there is nothing to remove, which is what it wants.
func absent(op plan.Op, err error) bool {
	switch op.(type) {
	case plan.DeleteFDB, plan.DeleteNeighbour, plan.DeleteRoute:
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
	}
	return false
}
