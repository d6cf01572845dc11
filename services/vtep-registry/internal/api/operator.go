package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/netaddr"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// Operator carries out what operators ask for.
type Operator interface {
	// Register makes something a VTEP and returns the verdict on it.
	Register(context.Context, Registration) (registry.VTEP, error)
	// Deregister undoes it.
	Deregister(ctx context.Context, name string) error
	// Publication is what is known of Cilium's side.
	Publication(context.Context) (Publication, error)
}

// Registration is a VTEP that is no Kubernetes node.
type Registration struct {
	Name     string
	IP       netip.Addr
	PodCIDRs []netip.Prefix
}

// Standing is what has become of an endpoint; see publish.Standing.
type Standing = publish.Standing

// Publication is what this gateway knows of Cilium's side.
type Publication struct {
	Floating bool
	// APIVersion and Object are those of the CiliumVTEPConfig; Epoch is the one it was written
	// under.
	APIVersion, Object string
	Epoch              uint64
	Standings          []Standing
	Problems           []string
	Behind             []string // nodes; see floating.Behind
	Settings           string   // of Cilium; see floating.Want.Text
}

// Codes of the operator's errors.
type Codes struct{ NotFound, Exhausted error }

// status is the gRPC status of an error in a call.
func (c Codes) status(ctx context.Context, err error) error {
	code := codes.Unavailable
	switch {
	case errors.Is(err, c.NotFound):
		code = codes.NotFound
	case errors.Is(err, c.Exhausted):
		code = codes.ResourceExhausted
	case ctx.Err() != nil: // the caller's time, not that of our own calls
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(code, err.Error())
}

// RegisterVtep implements VtepsService.
func (s *VtepsServer) RegisterVtep(ctx context.Context, q *vtepsv1.RegisterVtepRequest) (*vtepsv1.RegisterVtepResponse, error) {
	r, err := parseRegistration(q)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	v, err := s.Operator.Register(ctx, r)
	if err != nil {
		return nil, s.Codes.status(ctx, err)
	}
	return &vtepsv1.RegisterVtepResponse{Vtep: encode(v)}, nil
}

// DeregisterVtep implements VtepsService.
func (s *VtepsServer) DeregisterVtep(ctx context.Context, q *vtepsv1.DeregisterVtepRequest) (*vtepsv1.DeregisterVtepResponse, error) {
	if err := checkName(q.GetName()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := s.Operator.Deregister(ctx, q.GetName()); err != nil {
		return nil, s.Codes.status(ctx, err)
	}
	return &vtepsv1.DeregisterVtepResponse{}, nil
}

// GetPublication implements VtepsService.
func (s *VtepsServer) GetPublication(ctx context.Context, _ *vtepsv1.GetPublicationRequest) (*vtepsv1.GetPublicationResponse, error) {
	p, err := s.Operator.Publication(ctx)
	if err != nil {
		return nil, s.Codes.status(ctx, err)
	}
	m := &vtepsv1.GetPublicationResponse{
		Mode: vtepsv1.Mode_MODE_PUBLISHED, ApiVersion: p.APIVersion, Object: p.Object, Epoch: p.Epoch, Problems: p.Problems, NodesBehind: p.Behind, CiliumSettings: p.Settings,
	}
	if p.Floating {
		m.Mode = vtepsv1.Mode_MODE_FLOATING
	}
	for _, s := range p.Standings {
		m.Endpoints = append(m.Endpoints, &vtepsv1.EndpointStatus{Node: s.Node, Endpoint: s.Endpoint, Synced: s.State == publish.Synced, Error: s.Error})
	}
	return m, nil
}

func checkName(name string) error {
	if len(name) > 63 || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name) {
		return fmt.Errorf("the name %.100q cannot be used: want 1 to 63 characters of a-z, 0-9 and '-', with a letter or digit at both ends", name)
	}
	return nil
}

func parseRegistration(q *vtepsv1.RegisterVtepRequest) (Registration, error) {
	r := Registration{Name: q.GetName()}
	if err := checkName(r.Name); err != nil {
		return r, err
	}
	var err error
	if r.IP, err = netaddr.ParseIPv4(q.GetIp()); err != nil {
		return r, fmt.Errorf("the address of VTEP %s: %w", r.Name, err)
	}
	if n := len(q.GetPodCidrs()); n == 0 || n > registry.MaxCIDRs {
		return r, fmt.Errorf("VTEP %s has %d pod networks: want 1 to %d", r.Name, n, registry.MaxCIDRs)
	}
	for _, text := range q.GetPodCidrs() {
		p, err := netaddr.ParseIPv4Prefix(text)
		if err != nil {
			return r, fmt.Errorf("a pod network of VTEP %s: %w", r.Name, err)
		}
		r.PodCIDRs = append(r.PodCIDRs, p)
	}
	return r, nil
}
