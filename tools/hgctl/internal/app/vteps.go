package app

import (
	"context"
	"fmt"
	"strings"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/client"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/render"
)

type vtepsFlags struct {
	List        listFlags       `cmd:"" default:"withargs" help:"Show the remote VTEPs, and why those are quarantined that are."`
	Register    registerFlags   `cmd:"" help:"Make something that is no Kubernetes node a VTEP, for all gateways, or change one."`
	Deregister  deregisterFlags `cmd:"" help:"Undo that."`
	Publication listFlags       `cmd:"" help:"Show what Cilium is told, or has to be set to, and what has become of it."`
}

type registerFlags struct {
	Name string   `arg:"" help:"Name: 1 to 63 characters of a-z, 0-9 and '-'."`
	IP   string   `name:"ip" help:"Its IPv4 address, inside the gateways' --node-cidrs." required:"" env:"-" placeholder:"ADDR"`
	CIDR []string `name:"cidr" help:"Networks behind it, inside the gateways' --pod-cidrs." required:"" env:"-" placeholder:"CIDR"`

	listFlags
}

type deregisterFlags struct {
	Name string `arg:"" help:"Name that it was registered by."`

	readFlags
}

// register fails for a VTEP that is quarantined as well: it is registered, but gets no packets.
func (s session) register(ctx context.Context, f registerFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	answer, err := s.admin.RegisterVtep(ctx, &adminv1.RegisterVtepRequest{Name: f.Name, Ip: f.IP, PodCidrs: f.CIDR})
	if err != nil {
		return client.Explain(s.target, err)
	}
	v := answer.GetVtep()
	admitted := v.GetState() == vtepsv1.State_STATE_ADMITTED
	switch {
	case f.Output == "json":
		err = s.writeJSON(answer)
	case admitted && v.GetReason() != "":
		_, err = fmt.Fprintf(s.out, "%s is admitted with %s, without some of the rest: %s\n", v.GetNode(), strings.Join(v.GetPodCidrs(), ","), v.GetReason())
	case admitted:
		_, err = fmt.Fprintf(s.out, "%s is admitted\n", v.GetNode())
	}
	if err == nil && !admitted {
		err = fmt.Errorf("%s: %s is registered, and quarantined: %s", s.target.Address, v.GetNode(), v.GetReason())
	}
	return err
}

func (s session) deregister(ctx context.Context, f deregisterFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	if _, err := s.admin.DeregisterVtep(ctx, &adminv1.DeregisterVtepRequest{Name: f.Name}); err != nil {
		return client.Explain(s.target, err)
	}
	_, err := fmt.Fprintf(s.out, "%s is no longer registered\n", f.Name)
	return err
}

func (s session) publication(ctx context.Context, f listFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	answer, err := s.admin.GetPublication(ctx, &adminv1.GetPublicationRequest{})
	switch {
	case err != nil:
		return client.Explain(s.target, err)
	case f.Output == "json":
		return s.writeJSON(answer.GetPublication())
	}
	return render.Publication(s.out, answer.GetPublication())
}
