package etcdtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/internal/controlplane"
	"github.com/hybridgateway/gateway/libs/pkitest"
)

// Options change what a Cluster is started with. The zero value is good.
type Options struct {
	// Members is how many there are; one when zero.
	Members int
	// HeartbeatInterval and ElectionTimeout are Raft's; etcd's own defaults, 100 ms and 1 s,
	// when zero.
	HeartbeatInterval, ElectionTimeout time.Duration
}

// Cluster is an etcd cluster.
type Cluster struct {
	// Authority signs the members' certificates, and those that members accept.
	Authority *pkitest.Authority

	dir     string
	members []*Member
}

// Start starts a cluster for one test and removes it at the test's end. It returns when
// all members serve. It skips the test when there is no
// binary, and fails root's.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	binary, err := controlplane.FindBinary()
	if errors.Is(err, controlplane.ErrNoBinary) {
		controlplane.Missing(t, os.Geteuid())
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Authority: pkitest.NewAuthority(t, "etcd CA"), dir: t.TempDir()}
	cert, key := c.Authority.Issue(t, "etcd")
	t.Cleanup(func() {
		if err := c.each((*Member).Kill); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
	})
	n := max(1, o.Members)
	err = controlplane.OnFreePorts(2*n, func(addresses []string) error {
		c.members = nil
		var all []string
		for i := range n {
			m := &Member{
				name: fmt.Sprintf("member%d", i+1), binary: binary,
				address: addresses[i], peerAddress: addresses[n+i],
			}
			m.dir = filepath.Join(c.dir, m.name)
			all = append(all, "--member="+m.name+"="+m.peerAddress)
			c.members = append(c.members, m)
		}
		for _, m := range c.members {
			m.args = append([]string{
				"etcd", "--dir=" + m.dir, "--name=" + m.name, "--listen=" + m.address, "--die-with-parent",
				"--cacert=" + c.Authority.File, "--cert=" + cert, "--key=" + key,
			}, all...)
			m.args = append(m.args, o.timing()...)
			if err := errors.Join(os.RemoveAll(m.dir), os.MkdirAll(m.dir, 0o700)); err != nil {
				return fmt.Errorf("make directory for %s: %w", m.name, err)
			}
		}
		if err := c.Start(); err != nil {
			return errors.Join(err, c.each((*Member).Kill))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (o Options) timing() []string {
	var args []string
	if o.HeartbeatInterval != 0 {
		args = append(args, "--heartbeat-interval="+o.HeartbeatInterval.String())
	}
	if o.ElectionTimeout != 0 {
		args = append(args, "--election-timeout="+o.ElectionTimeout.String())
	}
	return args
}

// Members are all members, also those that are stopped.
func (c *Cluster) Members() []*Member { return c.members }

// Endpoints are the URLs that clients connect to.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.Endpoint())
	}
	return urls
}

// Start starts those members that are stopped, and returns when they serve.
func (c *Cluster) Start() error { return c.each((*Member).Start) }

// Stop ends all members in an orderly way.
func (c *Cluster) Stop() error { return c.each((*Member).Stop) }

// Kill ends all members as a crash does.
func (c *Cluster) Kill() error { return c.each((*Member).Kill) }

// Pause freezes all members.
func (c *Cluster) Pause() error { return c.each((*Member).Pause) }

// Resume ends a pause.
func (c *Cluster) Resume() error { return c.each((*Member).Resume) }

// each does the same to all members at once: members of a new cluster wait for one
// another.
func (c *Cluster) each(do func(*Member) error) error {
	errs := make([]error, len(c.members))
	var wg sync.WaitGroup
	for i, m := range c.members {
		wg.Go(func() { errs[i] = do(m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Backup keeps a copy of the data, for Restore; it replaces an earlier one. The members
// are stopped for it and started again.
func (c *Cluster) Backup() error {
	return c.whileStopped(func(m *Member) error { return replace(m.backup(), m.data()) })
}

// Restore puts the data back to what it was at the last Backup, under the running
// clients as it were: the cluster's revision goes back too, and its ID stays.
func (c *Cluster) Restore() error {
	return c.whileStopped(func(m *Member) error { return replace(m.data(), m.backup()) })
}

func (c *Cluster) whileStopped(do func(*Member) error) error {
	if err := errors.Join(c.Stop(), c.each(do)); err != nil {
		return err
	}
	return c.Start()
}

func replace(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("remove %s: %w", to, err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return nil
}

// Member is one member of a Cluster. Its methods may be called from several goroutines,
// one at a time takes effect.
type Member struct {
	name, binary, dir    string
	address, peerAddress string
	args                 []string

	mu      sync.Mutex
	process *controlplane.Process // nil while stopped
}

// Name is the member's name in the cluster.
func (m *Member) Name() string { return m.name }

// Endpoint is the URL that clients connect to.
func (m *Member) Endpoint() string { return "https://" + m.address }

// Address is the IP address and port that clients connect to.
func (m *Member) Address() string { return m.address }

// Dir is the directory with the member's logs.
func (m *Member) Dir() string { return m.dir }

func (m *Member) data() string   { return filepath.Join(m.dir, "data") }
func (m *Member) backup() string { return filepath.Join(m.dir, "backup") }

// Start starts a stopped member over the data it had, at the same address, and returns
// when it serves. On a running one it does nothing.
func (m *Member) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != nil {
		return nil
	}
	p, err := controlplane.Start(controlplane.Config{
		Name: "etcd's " + m.name, Binary: m.binary, Args: m.args, Dir: m.dir, Logs: []string{"etcd.log"},
	})
	if err != nil {
		return fmt.Errorf("start etcd's %s: %w", m.name, err)
	}
	m.process = p
	return nil
}

// Stop ends the member in an orderly way, also a paused one. On a stopped one it does
// nothing.
func (m *Member) Stop() error { return m.end((*controlplane.Process).Stop) }

// Kill ends the member as a crash does.
func (m *Member) Kill() error { return m.end((*controlplane.Process).Kill) }

func (m *Member) end(how func(*controlplane.Process) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	p := m.process
	m.process = nil
	return how(p)
}

// Pause freezes the member: connections stay open, and are made, but nothing is
// answered.
func (m *Member) Pause() error { return m.signal((*controlplane.Process).Pause) }

// Resume ends a pause.
func (m *Member) Resume() error { return m.signal((*controlplane.Process).Resume) }

func (m *Member) signal(what func(*controlplane.Process) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return fmt.Errorf("etcd's %s is stopped", m.name)
	}
	return what(m.process)
}
