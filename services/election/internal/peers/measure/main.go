// Command measure is one gateway of a measurement: it watches others and writes a line for each change that it sees.
// tools/livenessbench runs many of them.
//
//	<CLOCK_BOOTTIME in nanoseconds> <change> <address of the peer>
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/priority"
	"github.com/hybridgateway/gateway/services/election/internal/peers"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	var c peers.Config
	var others string
	flags := flag.NewFlagSet("measure", flag.ContinueOnError)
	flags.StringVar(&c.Self.ID, "id", "", "name of this gateway")
	flags.StringVar(&c.KeyFile, "keys", "", "key file")
	flags.TextVar(&c.Listen, "listen", netip.AddrPort{}, "address and port")
	flags.StringVar(&others, "peers", "", "addresses and ports of the others, separated by commas")
	flags.DurationVar(&c.Period, "period", peers.DefaultPeriod, "time between heartbeats")
	multiplier := flags.Uint("multiplier", peers.DefaultMultiplier, "heartbeats that may be missing")
	realtime := flags.Bool("realtime", true, "run before all other processes, as election does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := schedule(*realtime); err != nil {
		return err
	}
	if *multiplier > 255 {
		return errors.New("multiplier must be at most 255")
	}
	c.Multiplier = uint8(*multiplier)
	for _, p := range strings.Split(others, ",") {
		a, err := netip.ParseAddrPort(p)
		if err != nil {
			return fmt.Errorf("peer %q: %w", p, err)
		}
		c.Static = append(c.Static, a)
	}
	c.Self.NodeIP = c.Listen.Addr()
	c.Self.Health = wire.Standing
	// What cannot be written is missed by whoever reads it.
	c.Events = func(e peers.Event) {
		_, _ = fmt.Fprintf(out, "%d %s %s\n", int64(boottime.Now()/time.Nanosecond), e.Change, e.Peer.Addr.Addr())
	}
	n, err := peers.New(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return n.Run(ctx)
}

// schedule overrides what is inherited from who measures.
func schedule(realtime bool) error {
	if !realtime {
		return priority.Normal()
	}
	_, err := priority.Realtime()
	return err
}
