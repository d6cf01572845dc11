package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/hybridgateway/gateway/libs/boottime"
)

const memberPort = 7946

// memberConfig is memberlist with the timing of a preset.
func memberConfig(preset string) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	switch preset {
	case "lan":
	case "fast":
		// As fast as its design allows before a healthy node is declared dead for one lost probe: twenty probes a
		// second, each answered within half a period, a suspicion that stands for two periods, no stretching.
		c.ProbeInterval = 50 * time.Millisecond
		c.ProbeTimeout = 25 * time.Millisecond
		c.SuspicionMult = 2
		c.SuspicionMaxTimeoutMult = 1
		c.AwarenessMaxMultiplier = 1
		c.GossipInterval = 20 * time.Millisecond
		c.PushPullInterval = 5 * time.Second
	default:
		return nil, fmt.Errorf("memberlist preset %q: must be lan or fast", preset)
	}
	return c, nil
}

// member is one gateway that uses memberlist. It writes the same lines as the heartbeats' program.
func member(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("member", flag.ContinueOnError)
	preset := f.String("preset", "lan", "timing")
	id := f.String("id", "", "name of this gateway")
	listen := f.String("listen", "", "address")
	others := f.String("peers", "", "addresses of the others, separated by commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	c, err := memberConfig(*preset)
	if err != nil {
		return err
	}
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = *id, *listen, memberPort, memberPort
	c.LogOutput = io.Discard
	c.SecretKey = []byte("0123456789abcdef0123456789abcdef")
	c.Events = &lines{out: out, own: *listen}
	m, err := memberlist.Create(c)
	if err != nil {
		return fmt.Errorf("start memberlist: %w", err)
	}
	peers := strings.Split(*others, ",")
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for {
		if n, _ := m.Join(peers); n == len(peers) {
			break // whoever is not there yet will join us
		}
		select {
		case <-ctx.Done():
			return m.Shutdown()
		case <-retry.C:
		}
	}
	<-ctx.Done()
	return m.Shutdown()
}

// lines writes events as the heartbeats' program does.
type lines struct {
	mu  sync.Mutex
	out io.Writer
	own string
}

func (l *lines) NotifyJoin(n *memberlist.Node)  { l.write("up", n) }
func (l *lines) NotifyLeave(n *memberlist.Node) { l.write("suspected", n) }
func (l *lines) NotifyUpdate(*memberlist.Node)  {}

func (l *lines) write(change string, n *memberlist.Node) {
	if n.Addr.String() == l.own {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "%d %s %s\n", int64(boottime.Now()), change, n.Addr)
}
