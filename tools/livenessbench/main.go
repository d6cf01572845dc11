// Command livenessbench compares ways to notice that a gateway died: the heartbeats of election, and
// hashicorp/memberlist. It is a module of its own so that the gateway does not depend on what it is compared with.
//
// Every gateway is a process in a network namespace of its own. The namespaces are joined by a bridge; loss is made by
// nftables where a packet arrives; a death is a cut wire followed by SIGKILL. It needs root and leaves nothing behind: the
// namespaces have no names, and the processes die with this one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hybridgateway/gateway/libs/priority"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "livenessbench:", err)
		os.Exit(1)
	}
}

// run is the benchmark, unless the first argument makes this process a part of one.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 && (args[0] == "member" || args[0] == "hog") {
		if err := priority.Normal(); err != nil { // not as who measures, from whom it is inherited
			return err
		}
		if args[0] == "member" {
			return member(ctx, args[1:], os.Stdout)
		}
		for ctx.Err() == nil {
		}
		return nil
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	// Who measures must not be late itself: a stall would last longer, and a death be noted sooner, than it is said to.
	if _, err := priority.Realtime(); err != nil {
		return err
	}
	return bench(ctx, o, os.Stdout)
}
