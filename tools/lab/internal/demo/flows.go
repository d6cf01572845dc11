package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/hybridgateway/gateway/tools/lab/internal/flows"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

func (d *demo) cloudToPods(ctx context.Context) error {
	d.say.Why("The VPC knows one thing: pod networks go to the active gateway's network interface. No router knows a pod's node; the gateway does, and wraps the packets for it into VXLAN.")
	return d.flow(ctx, flows.CloudToPods, "every EC2 pod asks every on-premises pod which address it sees, over TCP and UDP")
}

func (d *demo) podsToCloud(ctx context.Context) error {
	says := "the active gateway's tunnel endpoint, as the CiliumVTEPConfig says that the gateway wrote"
	if d.lab.Options.VTEPMode == lab.Floating {
		says = fmt.Sprintf("the tunnel endpoint %s, as cilium-config says since the day it was set up; the VPC leads that address to the active gateway", lab.FloatingVTEP.Addr())
	}
	d.say.Why("The nodes' Cilium knows one thing: the VPC's network is behind %s.", says)
	return d.flow(ctx, flows.PodsToCloud, "every on-premises pod asks every EC2 pod which address it sees")
}

func (d *demo) webhook(ctx context.Context) error {
	d.say.Why("A cloud control plane can only call webhooks that it can reach. This one runs in a pod on-premises, and a real kube-apiserver asks it.")
	if err := d.flow(ctx, flows.APIServerToWebhook, "creating two ConfigMaps, of which a ValidatingWebhookConfiguration allows one"); err != nil {
		return err
	}
	d.say.OK("one object was denied by the pod, the other admitted by it")
	return nil
}

func (d *demo) balancer(ctx context.Context) error {
	d.say.Why("A load balancer with IP targets: on-premises pods are targets like any others.")
	return d.flow(ctx, flows.BalancerToPods, "an EC2 pod asks the load balancer once for each of its targets")
}

// flow runs a flow and tells what proves that it went through the tunnel.
func (d *demo) flow(ctx context.Context, run func(context.Context, *lab.Lab) (flows.Result, error), doing string) error {
	d.say.Doing("%s", doing)
	r, err := run(ctx, d.lab)
	if err != nil {
		return err
	}
	d.say.OK("%d questions, %d answers; the peers saw the true source: %s", r.Questions, r.Questions, strings.Join(r.Seen, ", "))
	d.say.OK("through the tunnel: %d packets of VXLAN out and %d in on the WAN; %d packets with pod addresses outside of it",
		r.Meter.Out, r.Meter.In, r.Meter.Outside)
	return nil
}
