package etcd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/hybridgateway/gateway/libs/etcdtest"
	"github.com/hybridgateway/gateway/libs/pkitest"
	"github.com/hybridgateway/gateway/services/election/internal/etcd"
	"github.com/hybridgateway/gateway/services/election/internal/registertest"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "/hybrid-gateway/default/leader"

// config is how the user of the given name reaches the endpoints.
func config(t *testing.T, c *etcdtest.Cluster, user string, endpoints ...string) etcd.Config {
	t.Helper()
	cert, keyFile := c.Authority.Issue(t, user)
	return etcd.Config{
		Endpoints: endpoints, CA: c.Authority.File, Cert: cert, Key: keyFile,
		Prefix: "/hybrid-gateway", Shard: "default", UserAgent: "test",
		CallTimeout: registertest.CallTimeout, PollPeriod: registertest.PollPeriod, Log: registertest.Log(t),
	}
}

func open(t *testing.T, c etcd.Config) *etcd.Etcd {
	t.Helper()
	e, err := etcd.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// operator is a client that may do everything.
func operator(t *testing.T, c *etcdtest.Cluster) *clientv3.Client {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(c.Authority.Issue(t, "root"))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(c.Authority.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints(), TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func remove(t *testing.T, o *clientv3.Client) {
	t.Helper()
	if _, err := o.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// start starts a cluster that notices the death of its leader soon.
func start(t *testing.T, members int) *etcdtest.Cluster {
	t.Helper()
	return etcdtest.Start(t, etcdtest.Options{Members: members, HeartbeatInterval: 30 * time.Millisecond, ElectionTimeout: 300 * time.Millisecond})
}

func TestContract(t *testing.T) {
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d members", members), func(t *testing.T) {
			c := start(t, members)
			o := operator(t, c)
			b := registertest.Backend{
				Open: func(t *testing.T) registertest.Register { return open(t, config(t, c, "election", c.Endpoints()...)) },
				OpenThrough: func(t *testing.T, addresses ...string) registertest.Register {
					var urls []string
					for _, a := range addresses {
						urls = append(urls, "https://"+a)
					}
					return open(t, config(t, c, "election", urls...))
				},
				Remove:  func(t *testing.T) { remove(t, o) },
				Servers: c,
				Faults:  registertest.Outages(c),
			}
			for _, m := range c.Members() {
				b.Addresses = append(b.Addresses, m.Address())
			}
			if members > 1 {
				for _, m := range c.Members() {
					b.Faults = append(b.Faults,
						registertest.Fault{Name: m.Name() + " paused", Begin: m.Pause, Mend: m.Resume},
						registertest.Fault{Name: m.Name() + " killed", Begin: m.Kill, Mend: m.Start})
				}
			}
			registertest.Run(t, b)
		})
	}
}

// leader is the member that leads the cluster. While members that were stalled elect another there is none.
func leader(t *testing.T, c *etcdtest.Cluster, o *clientv3.Client) *etcdtest.Member {
	t.Helper()
	for began := time.Now(); time.Since(began) < registertest.Patience; time.Sleep(20 * time.Millisecond) {
		for _, m := range c.Members() {
			s, err := o.Status(t.Context(), m.Endpoint())
			if err == nil && s.Leader == s.Header.MemberId {
				return m
			}
		}
	}
	t.Fatalf("no member says within %v that it leads", registertest.Patience)
	return nil
}

// first puts the member's endpoint first, where calls go to until it fails.
func first(c *etcdtest.Cluster, m *etcdtest.Member) []string {
	urls := []string{m.Endpoint()}
	for _, u := range c.Endpoints() {
		if u != m.Endpoint() {
			urls = append(urls, u)
		}
	}
	return urls
}

// renew renews the record on what is known until it succeeds.
func renew(t *testing.T, f *registertest.Follower, write *uint64) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < registertest.Patience {
		o, err := f.Fetch(t.Context())
		if err != nil {
			continue
		}
		*write++
		result, err := f.CompareAndSwap(t.Context(), term.CompareAndSwap{
			Expected: o.Version, Record: registertest.Record(registertest.Gateway1(), 1, *write), Purpose: term.Renew, Timeout: registertest.CallTimeout,
		})
		if result.Outcome == term.Swapped {
			return time.Since(began)
		}
		t.Log(err)
	}
	t.Fatalf("no renewal within %v", registertest.Patience)
	return 0
}

// Of three members the one that the gateway talks to, or the one that leads, is frozen or
// dies: the record is written and watched through the others.
func TestMemberFails(t *testing.T) {
	c := start(t, 3)
	o := operator(t, c)
	for _, leads := range []bool{false, true} {
		for _, fault := range []struct {
			name        string
			begin, mend func(*etcdtest.Member) error
		}{
			{"paused", (*etcdtest.Member).Pause, (*etcdtest.Member).Resume},
			{"killed", (*etcdtest.Member).Kill, (*etcdtest.Member).Start},
		} {
			t.Run(fmt.Sprintf("leads %v, %s", leads, fault.name), func(t *testing.T) {
				remove(t, o)
				m := leader(t, c, o)
				for i := 0; !leads && i < 3; i++ {
					if c.Members()[i] != m {
						m = c.Members()[i]
						break
					}
				}
				f := registertest.Follow(t, open(t, config(t, c, "election", first(c, m)...)))
				write := uint64(1)
				registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
				f.UntilWrite(t, 1)
				if err := fault.begin(m); err != nil {
					t.Fatal(err)
				}
				t.Logf("renewed after %v", renew(t, f, &write))
				f.UntilWrite(t, write)
				// What comes next does not wait for the failed member any more.
				t.Logf("renewed after %v", renew(t, f, &write))
				f.Until(t, "a living watch", func(o term.Observation) bool { return f.Watched() >= o.Version })
				if err := fault.mend(m); err != nil {
					t.Fatal(err)
				}
				renew(t, f, &write)
				f.UntilWrite(t, write)
			})
		}
	}
}

// Without a majority nothing can be read or written; with it again, all goes on.
func TestNoQuorum(t *testing.T) {
	c := start(t, 3)
	f := registertest.Follow(t, open(t, config(t, c, "election", c.Endpoints()...)))
	made := registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
	f.UntilWrite(t, 1)
	for _, m := range c.Members()[1:] {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	registertest.Swap(t, f, made.Version, registertest.Record(registertest.Gateway1(), 1, 2), term.Unknown)
	if got, err := f.Fetch(t.Context()); err == nil {
		t.Errorf("a minority answered %+v", got)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	write := uint64(2)
	renew(t, f, &write)
	f.UntilWrite(t, write)
	f.Until(t, "a living watch", func(o term.Observation) bool { return f.Watched() >= o.Version })
}

// Epochs go on after the key was deleted, and after everything was, without anybody who
// remembers.
func TestEpochFloor(t *testing.T) {
	c := start(t, 1)
	o := operator(t, c)
	greatest := uint64(0)
	for range 3 {
		e := open(t, config(t, c, "election", c.Endpoints()...))
		absent := registertest.Fetch(t, e)
		if absent.EpochFloor < greatest {
			t.Fatalf("the floor is %d below epoch %d", absent.EpochFloor, greatest)
		}
		version := uint64(0)
		for range 5 { // each take-over adds one
			greatest = max(greatest, absent.EpochFloor) + 1
			version = registertest.Swap(t, e, version, registertest.Record(registertest.Gateway1(), greatest, greatest), term.Swapped).Version
			if greatest > version {
				t.Fatalf("epoch %d was written at revision %d", greatest, version)
			}
		}
		if present := registertest.Fetch(t, e); present.EpochFloor != 0 {
			t.Errorf("with a record the floor is %d", present.EpochFloor)
		}
		if _, err := o.Delete(t.Context(), "", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		compact(t, o)
	}
}

// A key that holds something else counts as vacant, and its epoch as not known.
func TestForeignValue(t *testing.T) {
	c := start(t, 1)
	put, err := operator(t, c).Put(t.Context(), key, "gw7 leads")
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, config(t, c, "election", c.Endpoints()...))
	got := registertest.Fetch(t, e)
	if !got.Present || got.Record != (term.Record{}) || got.EpochFloor != uint64(put.Header.Revision) {
		t.Errorf("observed %+v", got)
	}
	registertest.Swap(t, e, got.Version, registertest.Record(registertest.Gateway1(), got.EpochFloor+1, 1), term.Swapped)
}

func compact(t *testing.T, o *clientv3.Client) {
	t.Helper()
	got, err := o.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Compact(t.Context(), got.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// The watch is cut off while the revisions that it has not seen are compacted: it begins
// anew with what there is.
func TestCompaction(t *testing.T) {
	c := start(t, 3)
	o := operator(t, c)
	f := registertest.Follow(t, open(t, config(t, c, "election", c.Endpoints()[0])))
	write := uint64(1)
	registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
	f.UntilWrite(t, 1)
	if err := c.Members()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	other := registertest.Follow(t, open(t, config(t, c, "election", c.Endpoints()[1:]...)))
	for range 5 {
		renew(t, other, &write)
	}
	compact(t, o)
	if err := c.Members()[0].Start(); err != nil {
		t.Fatal(err)
	}
	f.UntilWrite(t, write)
	f.Until(t, "a living watch", func(o term.Observation) bool { return f.Watched() >= o.Version })
}

// etcd is put back to a backup: the older record is told as a rollback, and the watch
// follows it.
func TestRestoredFromBackup(t *testing.T) {
	c := start(t, 1)
	f := registertest.Follow(t, open(t, config(t, c, "election", c.Endpoints()...)))
	made := registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
	f.UntilWrite(t, 1)
	if err := c.Backup(); err != nil {
		t.Fatal(err)
	}
	write := uint64(1)
	for range 5 {
		renew(t, f, &write)
	}
	f.UntilWrite(t, write)
	if err := c.Restore(); err != nil {
		t.Fatal(err)
	}
	back := f.Until(t, "the rollback", func(o term.Observation) bool { return o.Rollback })
	if back.Record.Write != 1 || back.Version != made.Version {
		t.Errorf("went back to %+v, want v%d", back, made.Version)
	}
	write = 100
	renew(t, f, &write)
	f.UntilWrite(t, write)
	f.Until(t, "a living watch", func(o term.Observation) bool { return o.Record.Write == write && f.Watched() == o.Version })
}

// A role that is limited to the prefix is all that is needed, and less is a clear failure.
func TestRole(t *testing.T) {
	c := start(t, 1)
	o := operator(t, c)
	ctx := t.Context()
	var err error
	try := func(_ any, e error) {
		if err == nil {
			err = e
		}
	}
	try(o.RoleAdd(ctx, "root"))
	try(o.UserAddWithOptions(ctx, "root", "", &clientv3.UserAddOptions{NoPassword: true}))
	try(o.UserGrantRole(ctx, "root", "root"))
	try(o.RoleAdd(ctx, "hybrid-gateway"))
	try(o.RoleGrantPermission(ctx, "hybrid-gateway", "/hybrid-gateway/", clientv3.GetPrefixRangeEnd("/hybrid-gateway/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	for _, user := range []string{"election", "stranger"} {
		try(o.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true}))
	}
	try(o.UserGrantRole(ctx, "election", "hybrid-gateway"))
	try(o.AuthEnable(ctx))
	if err != nil {
		t.Fatal(err)
	}

	t.Run("granted", func(t *testing.T) {
		f := registertest.Follow(t, open(t, config(t, c, "election", c.Endpoints()...)))
		made := registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
		f.UntilWrite(t, 1)
		registertest.Swap(t, f, made.Version, registertest.Record(registertest.Gateway1(), 1, 2), term.Swapped)
		f.Until(t, "a living watch", func(o term.Observation) bool { return f.Watched() >= o.Version && o.Record.Write == 2 })
	})
	for name, change := range map[string]func(*etcd.Config){
		"another prefix": func(c *etcd.Config) { c.Prefix = "/other" },
		"no role":        func(k *etcd.Config) { k.Cert, k.Key = c.Authority.Issue(t, "stranger") },
		"unknown user":   func(k *etcd.Config) { k.Cert, k.Key = c.Authority.Issue(t, "nobody") },
	} {
		t.Run(name, func(t *testing.T) {
			k := config(t, c, "election", c.Endpoints()...)
			change(&k)
			e := open(t, k)
			registertest.Swap(t, e, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Failed)
			_, err := e.Fetch(ctx)
			for began := time.Now(); errors.Is(err, context.DeadlineExceeded) && time.Since(began) < registertest.Patience; {
				_, err = e.Fetch(ctx)
			}
			if err == nil || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "user name") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Certificates are renewed in place: connections made afterwards use the new ones.
func TestRenewedCertificate(t *testing.T) {
	c := start(t, 1)
	k := config(t, c, "election", c.Endpoints()...)
	good := map[string][]byte{k.Cert: nil, k.Key: nil}
	for file := range good {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		good[file] = data
	}
	other := strange(t)
	for _, p := range [][2]string{{k.Cert, other[0]}, {k.Key, other[1]}} {
		data, err := os.ReadFile(p[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := registertest.Follow(t, open(t, k))
	// The member tells that it does not accept the certificate after the handshake, perhaps only
	// after the call was sent.
	registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Failed, term.Unknown)
	_, err := f.Fetch(t.Context())
	for began := time.Now(); (err == nil || !strings.Contains(err.Error(), "tls: ")) && time.Since(began) < registertest.Patience; {
		_, err = f.Fetch(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("with a certificate of another authority: %v", err)
	}
	for file, data := range good {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.UntilAbsent(t)
	registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 2), term.Swapped)
}

func strange(t *testing.T) (files [2]string) {
	t.Helper()
	files[0], files[1] = pkitest.NewAuthority(t, "other").Issue(t, "election")
	return files
}

// Files that cannot be used are told at the start, by the flag that names them.
func TestUnusableFiles(t *testing.T) {
	c := start(t, 1)
	empty := t.TempDir() + "/empty"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*etcd.Config){
		"--etcd-ca: open /none": func(c *etcd.Config) { c.CA = "/none" },
		"no certificate in":     func(c *etcd.Config) { c.CA = empty },
		"--etcd-cert=/none":     func(c *etcd.Config) { c.Cert = "/none" },
		"--etcd-key=" + empty:   func(c *etcd.Config) { c.Key = empty },
	} {
		k := config(t, c, "election", c.Endpoints()...)
		change(&k)
		if _, err := etcd.New(k); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A cancelled write ends at once.
func TestCancel(t *testing.T) {
	c := start(t, 1)
	e := open(t, config(t, c, "election", c.Endpoints()...))
	made := registertest.Swap(t, e, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	result, err := e.CompareAndSwap(ctx, term.CompareAndSwap{
		Expected: made.Version, Record: registertest.Record(registertest.Gateway1(), 1, 2), Purpose: term.Renew, Timeout: time.Hour,
	})
	if result.Outcome != term.Unknown || err == nil {
		t.Errorf("outcome %v, error %v", result.Outcome, err)
	}
}
