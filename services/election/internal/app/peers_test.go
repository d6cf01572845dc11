package app_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/porttest"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/election/internal/app"
	"github.com/hybridgateway/gateway/services/election/internal/config"
)

const (
	suspected = leadershipv1.Cause_CAUSE_SUSPECTED
	handover  = leadershipv1.Cause_CAUSE_HANDOVER
)

// introduce lets two gateways watch each other, through wires that a test can cut. Their record does not expire,
// so that only heartbeats can be what moved it.
func introduce(t *testing.T, one, two *gateway) (cut func(bool)) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	var key [32]byte
	rand.Read(key[:])
	if err := os.WriteFile(keys, []byte(base64.StdEncoding.EncodeToString(key[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddrPort(porttest.Address(t)), netip.MustParseAddrPort(porttest.Address(t))
	atA, atB, cut := relay(t, a, b)
	flags := func(listen, peer netip.AddrPort) []string {
		return []string{
			"--peer-key-file=" + keys, "--peer-listen=" + listen.String(), "--peers=" + peer.String(),
			// What is measured is not how fast they are: a busy machine shall not make them suspect each other.
			"--peer-period=30ms", "--peer-multiplier=60", "--handover-timeout=5s",
		}
	}
	one.peers, two.peers = flags(a, atA), flags(b, atB)
	return cut
}

// relay carries datagrams between a and b: a reaches b at atA, and b reaches a at atB.
func relay(t *testing.T, a, b netip.AddrPort) (atA, atB netip.AddrPort, cut func(bool)) {
	t.Helper()
	var dead atomic.Bool
	ends := [2]*net.UDPConn{}
	for i := range ends {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c
	}
	for i, to := range [2]netip.AddrPort{b, a} {
		background(t, "relay", func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { ends[i].Close() })
			defer stop()
			buffer := make([]byte, 2048)
			for {
				n, err := ends[i].Read(buffer)
				if err != nil && ctx.Err() != nil {
					return nil
				}
				if err == nil && !dead.Load() {
					ends[1-i].WriteToUDPAddrPort(buffer[:n], to)
				}
			}
		})
	}
	at := func(i int) netip.AddrPort { return ends[i].LocalAddr().(*net.UDPAddr).AddrPort() }
	return at(0), at(1), dead.Store
}

// untilPeer waits until the gateway tells of the other what is wanted.
func (g *gateway) untilPeer(what string, is func(*leadershipv1.Peer) bool) *leadershipv1.Peer {
	g.t.Helper()
	var found *leadershipv1.Peer
	g.until(what, func(l *leadershipv1.Leadership) bool {
		for _, p := range l.GetPeers() {
			if is(p) {
				found = p
			}
		}
		return found != nil
	})
	return found
}

// What is known of another gateway is told: nothing at first, then what it says of itself, that it is silent, that
// it is back; and a suspicion that proves false is counted.
func TestPeersAreTold(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	one, two := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	cut := introduce(t, one, two)
	one.serve()
	two.serve()
	one.start()
	one.untilPeer("an address that is watched", func(p *leadershipv1.Peer) bool {
		return p.GetCondition() == leadershipv1.PeerCondition_PEER_CONDITION_NEVER_HEARD && p.GetGateway().GetNodeIp() == "127.0.0.1" && p.GetSinceBoottime() == 0
	})
	one.untilConverged(1)
	two.start()
	heard := one.untilPeer("a standby that is heard", func(p *leadershipv1.Peer) bool {
		return p.GetCondition() == leadershipv1.PeerCondition_PEER_CONDITION_HEARD && p.GetStanding()
	})
	if g := heard.GetGateway(); g.GetId() != "gw2" || g.GetNodeIp() != "10.0.0.2" || g.GetEniId() != "eni-2" || g.GetZone() != "zone-a" || heard.GetConvergedEpoch() != 0 {
		t.Errorf("gw1 tells %v", heard)
	}
	two.untilPeer("the leader's epoch", func(p *leadershipv1.Peer) bool {
		return p.GetGateway().GetId() == "gw1" && p.GetConvergedEpoch() == 1
	})
	// The condition begins a little after the heartbeat that makes it so has come: that one must not be the last.
	const ten = 10 * 30 * time.Millisecond // --peer-period
	eventually(t, "more heartbeats", func() bool { return boottime.Now() > time.Duration(heard.GetSinceBoottime())+ten })
	cut(true)
	silent := one.untilPeer("silence", func(p *leadershipv1.Peer) bool {
		return p.GetCondition() == leadershipv1.PeerCondition_PEER_CONDITION_SILENT
	})
	if silent.GetSinceBoottime() <= heard.GetSinceBoottime() || silent.GetGateway().GetId() != "gw2" {
		t.Errorf("heard: %v, silent: %v", heard, silent)
	}
	cut(false)
	one.untilPeer("its return", func(p *leadershipv1.Peer) bool {
		return p.GetCondition() == leadershipv1.PeerCondition_PEER_CONDITION_HEARD
	})
	_, metrics := one.get("/metrics")
	for _, line := range []string{
		`eks_hybrid_gateway_peer_false_suspicions_total{peer="gw2"} 1`,
		`eks_hybrid_gateway_peer_changes_total{change="suspected",peer="gw2"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %s in\n%s", line, metrics)
		}
	}
}

// untilSeen waits until the gateway hears the other, and hears that it stands: it is heard from its start on, and stands
// only once its services serve.
func (g *gateway) untilSeen(other *gateway) {
	g.t.Helper()
	eventually(g.t, g.id+" hears that "+other.id+" stands", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return slices.ContainsFunc(g.last.GetPeers(), func(p *leadershipv1.Peer) bool {
			return p.GetGateway().GetId() == other.id && p.GetCondition() == leadershipv1.PeerCondition_PEER_CONDITION_HEARD && p.GetStanding()
		})
	})
}

func (g *gateway) transfer(shard, to string) (*leadershipv1.TransferResponse, error) {
	g.t.Helper()
	conn, err := daemon.Dial(filepath.Join(g.dir, "election.sock"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	return leadershipv1.NewLeadershipServiceClient(conn).Transfer(ctx, &leadershipv1.TransferRequest{Shard: shard, To: to})
}

// pair is two gateways that watch each other, of which the first leads.
func pair(t *testing.T) (one, two *gateway, running [2]*running, cut func(bool)) {
	t.Helper()
	_, kubeconfig, _ := fresh(t)
	one, two = newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	cut = introduce(t, one, two)
	one.serve()
	two.serve()
	running[0] = one.start()
	one.untilConverged(1)
	running[1] = two.start()
	two.untilRole(standby)
	one.untilSeen(two)
	two.untilSeen(one)
	return one, two, running, cut
}

// The process of the leader is killed: the standby takes the record when the heartbeats stop, long before it
// expires, and what comes back stands by.
func TestDeadLeaderIsReplacedBeforeItsRecordExpires(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	one, two := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	introduce(t, one, two)
	one.serve()
	two.serve()
	kill := one.startProcess()
	one.untilConverged(1)
	two.start()
	two.untilRole(standby)
	two.untilSeen(one)
	kill()
	if l := two.untilRole(active); l.GetEpoch() != 2 || l.GetCause() != suspected {
		t.Errorf("the standby got %v", l)
	}
	two.untilConverged(2)
	one.start()
	one.until("the successor", func(l *leadershipv1.Leadership) bool { return l.GetRole() == standby && l.GetHolder().GetId() == "gw2" })
	one.untilSeen(two)
}

// Two gateways that reach the record but not each other, as when the leader's network card died: the standby takes
// the record, once; the one that lost it does not take it back, and follows when the network is back.
func TestNetworkBetweenGatewaysDies(t *testing.T) {
	one, two, _, cut := pair(t)
	cut(true)
	if l := two.untilRole(active); l.GetEpoch() != 2 || l.GetCause() != suspected {
		t.Errorf("the standby got %v", l)
	}
	one.untilRole(standby)
	// It suspects the other by then, and many renewals pass.
	for range 20 {
		if l := two.until("a renewal", func(l *leadershipv1.Leadership) bool { return l.GetCause() == leadershipv1.Cause_CAUSE_RENEWED }); l.GetEpoch() != 2 {
			t.Fatalf("the record moved again: %v", l)
		}
	}
	cut(false)
	two.untilSeen(one)
	if _, err := two.transfer("", "gw1"); err != nil {
		t.Errorf("transfer after the network is back: %v", err)
	}
}

// An operator moves the leadership there and back; what cannot be done is refused with the reason.
func TestTransfer(t *testing.T) {
	one, two, _, _ := pair(t)
	for _, c := range []struct {
		at        *gateway
		shard, to string
		code      codes.Code
		says      string
	}{
		{one, "elsewhere", "gw2", codes.NotFound, "elsewhere"},
		{two, "", "gw2", codes.FailedPrecondition, "gw1 does"},
		{one, "default", "gw1", codes.FailedPrecondition, "leads already"},
		{one, "default", "gw3", codes.FailedPrecondition, "gw3"},
	} {
		_, err := c.at.transfer(c.shard, c.to)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("transfer of %q to %q by %s: %v, want %v with %q", c.shard, c.to, c.at.id, err, c.code, c.says)
		}
	}
	r, err := one.transfer("", "gw2")
	if err != nil || r.GetHolder().GetId() != "gw2" || r.GetHolder().GetEniId() != "eni-2" || r.GetEpoch() != 3 {
		t.Errorf("transfer to gw2: %v, error %v", r, err)
	}
	if l := two.untilConverged(3); l.GetRole() != active {
		t.Errorf("gw2 has %v", l)
	}
	one.until("the successor", func(l *leadershipv1.Leadership) bool { return l.GetRole() == standby && l.GetHolderConverged() })
	if r, err = two.transfer("default", ""); err != nil || r.GetHolder().GetId() != "gw1" || r.GetEpoch() != 5 {
		t.Errorf("transfer to any: %v, error %v", r, err)
	}
}

// The successor takes the record and its routes do not converge: the one that asked is told, and who leads stays.
func TestTransferWithoutConvergence(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	one, two := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	introduce(t, one, two)
	one.peers = append(one.peers, "--handover-timeout=1s")
	two.converges = false
	one.serve()
	two.serve()
	one.start()
	one.untilConverged(1)
	two.start()
	two.untilRole(standby)
	one.untilSeen(two)
	if _, err := one.transfer("", "gw2"); status.Code(err) != codes.Aborted {
		t.Errorf("got error %v, want it aborted", err)
	}
	if l := two.untilRole(active); l.GetCause() != handover {
		t.Errorf("gw2 has %v", l)
	}
}

// A leader that is told to stop gives the record to the standby by name, waits until its routes are in place, and ends.
func TestHandoverByName(t *testing.T) {
	one, two, running, _ := pair(t)
	running[0].stop()
	if l := two.untilRole(active); l.GetEpoch() != 3 || l.GetCause() != handover {
		t.Errorf("the successor got %v", l)
	}
	two.untilConverged(3)
	running[0].wait(t)
	_ = one
}

// Each of a gateway's services goes away, or says that it is not ready: a standby stands no more, and a leader hands over
// after a while. When the service is back, it stands by.
func TestEachServiceMatters(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	leader, other := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	introduce(t, leader, other)
	of := map[*gateway]services{}
	for _, g := range []*gateway{leader, other} {
		g.peers = append(g.peers, "--unhealthy-grace=100ms")
		of[g] = g.serve()
	}
	leader.start()
	leader.untilConverged(1)
	other.start()
	other.untilRole(standby)
	leader.untilSeen(other)
	other.untilSeen(leader)

	tunnel := func(g *gateway, ready bool) {
		g.tunnel.Set(t.Context(), "hybrid_vxlan0", &tunnelv1.Tunnel{
			Ready: ready, Reason: "no such device", VtepIp: "10.0.0." + g.id[2:], Mac: "02:00:0a:00:00:0" + g.id[2:],
		})
	}
	type trouble struct {
		what, says string
		come, pass func(*gateway)
	}
	troubles := []trouble{{
		"the tunnel is not ready", "no such device",
		func(g *gateway) { tunnel(g, false) },
		func(g *gateway) { tunnel(g, true) },
	}}
	for _, name := range []string{daemon.Dataplane, daemon.RouteSync, daemon.VtepRegistry} {
		troubles = append(troubles, trouble{
			name + " is down", name,
			func(g *gateway) { of[g][name].stop() },
			func(g *gateway) { of[g][name] = g.serveOne(name) },
		})
	}
	for _, name := range []string{daemon.RouteSync, daemon.VtepRegistry} {
		troubles = append(troubles, trouble{
			name + " does not serve", name,
			func(g *gateway) { of[g][name].SetServing(false) },
			func(g *gateway) { of[g][name].SetServing(true) },
		})
	}
	for _, x := range troubles {
		t.Log(x.what)
		x.come(other)
		other.untilRole(observer)
		if status, body := other.get("/readyz"); status != 503 || !strings.Contains(body, x.says) {
			t.Errorf("%s: /readyz: %d %s", x.what, status, body)
		}
		x.pass(other)
		other.untilRole(standby)
		leader.untilPeer("that it stands", func(p *leadershipv1.Peer) bool { return p.GetStanding() })

		x.come(leader)
		if l := other.untilRole(active); l.GetCause() != handover {
			t.Errorf("%s: the successor got %v", x.what, l)
		}
		leader.until("the successor", func(l *leadershipv1.Leadership) bool {
			return l.GetRole() == observer && l.GetHolder().GetId() == other.id
		})
		x.pass(leader)
		leader.untilRole(standby)
		leader, other = other, leader
	}
}

// The route-sync of all gateways cannot read the route tables, since EC2 is away: the leader keeps leading, whether gateways
// watch each other or not. Where they do, it hands over once another can.
func TestNoRouteSyncServes(t *testing.T) {
	for _, watched := range []bool{false, true} {
		t.Run(map[bool]string{false: "unwatched", true: "watched"}[watched], func(t *testing.T) {
			_, kubeconfig, _ := fresh(t)
			one, two := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
			if watched {
				introduce(t, one, two)
			}
			one.peers = append(one.peers, "--unhealthy-grace=100ms")
			ofOne, ofTwo := one.serve(), two.serve()
			one.start()
			epoch := one.untilConverged(1).GetEpoch()
			two.start()
			two.untilRole(standby)
			if watched {
				one.untilSeen(two)
			}
			ofTwo[daemon.RouteSync].SetServing(false)
			two.untilRole(observer)
			if watched {
				one.untilPeer("that it does not stand", func(p *leadershipv1.Peer) bool { return !p.GetStanding() })
			}
			ofOne[daemon.RouteSync].SetServing(false)
			eventually(t, "it does not stand", func() bool {
				status, _ := one.get("/readyz")
				return status == 503
			})
			for range 10 {
				l := one.until("a renewal", func(l *leadershipv1.Leadership) bool {
					return l.GetRole() != active || l.GetCause() == leadershipv1.Cause_CAUSE_RENEWED
				})
				if l.GetRole() != active || l.GetEpoch() != epoch {
					t.Fatalf("the leader became %v", l)
				}
			}
			ofTwo[daemon.RouteSync].SetServing(true)
			two.untilRole(standby)
			if watched {
				if l := two.untilRole(active); l.GetCause() != handover {
					t.Errorf("the successor got %v", l)
				}
			}
		})
	}
}

// eventually waits until is says yes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// A key file that makes no sense ends the process with an error that names the file, and not what is in it.
func TestBadKeyFile(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("secret!"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, 1, kubeconfig)
	g.peers = []string{"--peer-key-file=" + keys}
	c, err := config.Parse(g.args(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	err = app.Run(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), keys) || strings.Contains(err.Error(), "secret!") {
		t.Errorf("got error %v", err)
	}
}
