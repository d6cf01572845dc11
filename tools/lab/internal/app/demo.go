package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/narrate"
)

// picture is what the lab looks like.
const picture = `
   VPC 10.0.0.0/16                                            on-premises 192.168.1.0/24
   EC2 pods, load balancer, API server                        node1, node2, node3 with Cilium
        |                                                     pods 100.64.0.0/16, 100.65.0.0/16
        | route tables: pods go to the                             |
        | active gateway's interface                               | VTEP: the VPC is behind
        v                                                          v the active gateway
   gw1 10.0.1.10  gw2 10.0.2.10  <===== VXLAN, UDP 8472, VNI 2 =====>  cilium_vxlan
   one active, one standing by: five processes each
`

// runDemo shows the gateway at work.
func runDemo(ctx context.Context, c config.Config, stdout, stderr io.Writer) error {
	if err := checkPrograms(c); err != nil {
		return err
	}
	fmt.Fprint(stdout, picture)
	say := narrate.New(stdout, demo.Steps, time.Now)
	say.Title("The lab comes up on this machine: network namespaces, no cloud account")
	o := options(c, stderr)
	o.Progress = func(what string) { say.Doing("%s", what) }
	began := time.Now()
	err := withLab(ctx, o, func(l *lab.Lab) error {
		o.Progress("starting both gateways: five processes each")
		if err := l.StartGateways(ctx); err != nil {
			return fmt.Errorf("the gateways did not become healthy: %w", err)
		}
		h, err := l.Health(ctx)
		if err != nil {
			return err
		}
		say.OK("all ten processes are ready; %s leads in epoch %d, %s stands by", h.Active.Name, h.Epoch, h.Standby.Name)
		return demo.Run(ctx, l, say)
	})
	if err != nil {
		return err
	}
	say.Title(fmt.Sprintf("Everything shown was checked, and everything was removed (%.0f s).", time.Since(began).Seconds()))
	fmt.Fprintln(stdout, "         make lab brings the lab up to try things; make test runs all tests.")
	return nil
}
