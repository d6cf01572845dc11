package kernel

import (
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// openReadOnly opens a namespace of which the settings below /proc/sys cannot be changed, as in a container without privileges.
func openReadOnly(t *testing.T, ns *netnstest.Namespace) *Kernel {
	t.Helper()
	var k *Kernel
	err := ns.Do(func() (err error) {
		// The mounts are this thread's alone, and the thread ends with this function.
		for _, err := range []error{
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
			unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		} {
			if err != nil {
				return err
			}
		}
		k, err = Open(Config{Device: device.Name, Node: local, Local: local, Guard: guardRules})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// TestPrivilegedOuterDF: outer packets are never fragmented, by a device that is made and by one that is adopted, on a host that goes by path
// MTUs; on one that does not and cannot be told to, they may be.
func TestPrivilegedOuterDF(t *testing.T) { inEachMode(t, outerDF) }

func outerDF(t *testing.T, in mode) {
	d := in(desired(vtep("a", "192.168.1.11", "100.64.1.0/24")))
	changed := "device-set"
	if d.Device.Flow {
		changed = "device-set route-replace"
	}
	d.OuterDF = true
	t.Run("made", func(t *testing.T) {
		_, k := gateway(t)
		converge(t, k, d)
		if !dump(t, k).Host.ForwardPMTU || dump(t, k).Link.DF != plan.DFSet {
			t.Errorf("df %s, host %+v", dump(t, k).Link.DF, dump(t, k).Host)
		}
		without := d
		without.OuterDF = false
		if r := converge(t, k, without); kinds(r.Ops) != changed || dump(t, k).Link.DF != plan.DFUnset {
			t.Errorf("df %s after %v", dump(t, k).Link.DF, r.Ops)
		}
		if r := converge(t, k, d); kinds(r.Ops) != changed || dump(t, k).Link.DF != plan.DFSet {
			t.Errorf("df %s after %v", dump(t, k).Link.DF, r.Ops)
		}
	})
	t.Run("cannot be told", func(t *testing.T) {
		ns, _ := gateway(t)
		ns.Sysctl(t, "net/ipv4/ip_forward", "1")
		k := openReadOnly(t, ns)
		r := converge(t, k, d)
		if len(r.Findings) != 1 || r.Findings[0].Kind != plan.Warning || !strings.Contains(r.Findings[0].Reason, "net.ipv4.ip_forward_use_pmtu") || dump(t, k).Link.DF != plan.DFUnset {
			t.Errorf("df %s, findings %v", dump(t, k).Link.DF, r.Findings)
		}
		ns.Sysctl(t, "net/ipv4/ip_forward_use_pmtu", "1")
		if r := converge(t, k, d); len(r.Findings) > 0 || dump(t, k).Link.DF != plan.DFSet {
			t.Errorf("once it is set on the node: df %s, findings %v", dump(t, k).Link.DF, r.Findings)
		}
	})
}

// TestPrivilegedClamp: the rules are made, put back when others change them, and removed; the guard is another matter.
func TestPrivilegedClamp(t *testing.T) {
	ns, k := gateway(t)
	d := desired(vtep("a", "192.168.1.11", "100.64.1.0/24"))
	converge(t, k, d)
	d.ClampMSS = true
	if r := converge(t, k, d); kinds(r.Ops) != "clamp-set" {
		t.Errorf("ops %v", r.Ops)
	}
	tables := func(change func(c *nftables.Conn)) (names string) {
		err := ns.Do(func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			change(c)
			if err := c.Flush(); err != nil {
				return err
			}
			all, err := c.ListTables()
			for _, table := range all {
				names += table.Name + " "
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for name, change := range map[string]func(c *nftables.Conn){
		"a rule added": func(c *nftables.Conn) {
			c.AddRule(&nftables.Rule{Table: clamps(), Chain: &nftables.Chain{Table: clamps(), Name: "clamp"}, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
		},
		"the rules flushed": func(c *nftables.Conn) { c.FlushTable(clamps()) },
		"a set added": func(c *nftables.Conn) {
			if err := c.AddSet(&nftables.Set{Table: clamps(), Name: "foreign", KeyType: nftables.TypeIPAddr}, nil); err != nil {
				t.Error(err)
			}
		},
		"the table removed": func(c *nftables.Conn) { c.DelTable(clamps()) },
	} {
		tables(change)
		if r := converge(t, k, d); kinds(r.Ops) != "clamp-set" {
			t.Errorf("%s: ops %v", name, r.Ops)
		}
	}
	d.ClampMSS = false
	if r := converge(t, k, d); kinds(r.Ops) != "clamp-delete" {
		t.Errorf("ops %v", r.Ops)
	}
	if got := tables(func(*nftables.Conn) {}); got != guardTable+" " {
		t.Errorf("tables %s", got)
	}
}
