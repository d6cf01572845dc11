package flows

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// Ports that the flows use.
const (
	echoPort     = 7777
	balancerPort = 80
	webhookPort  = 8443
)

// effectTimeout bounds how long the API server may take to use a new webhook.
const effectTimeout = 30 * time.Second

// Result is what a flow has proven.
type Result struct {
	Questions int   // asked and answered
	Meter     Meter // of the tunnel meanwhile
	// Seen says, for people, which addresses the asked peers saw.
	Seen []string
}

// end is one end of a flow.
type end struct {
	name string
	ip   netip.Addr
	host *netns.Host
}

func cloudEnds(l *lab.Lab) ([]end, error) {
	var ends []end
	for _, m := range l.World.Machines() {
		if !strings.HasPrefix(m.Name, "ec2-") {
			continue
		}
		h, err := l.Host(m.Name)
		if err != nil {
			return nil, err
		}
		ends = append(ends, end{m.Name, m.IP, h})
	}
	return ends, nil
}

func podEnds(l *lab.Lab) []end {
	var ends []end
	for _, n := range l.World.Nodes() {
		for _, p := range n.Pods() {
			ends = append(ends, end{n.Name + "/" + p.Name, p.IP, p.Host})
		}
	}
	return ends
}

// CloudToPods has every EC2 pod ask every on-premises pod, over TCP and UDP.
func CloudToPods(ctx context.Context, l *lab.Lab) (Result, error) {
	cloud, err := cloudEnds(l)
	if err != nil {
		return Result{}, err
	}
	return askAll(ctx, l, cloud, podEnds(l))
}

// PodsToCloud has every on-premises pod ask every EC2 pod, over TCP and UDP.
func PodsToCloud(ctx context.Context, l *lab.Lab) (Result, error) {
	cloud, err := cloudEnds(l)
	if err != nil {
		return Result{}, err
	}
	return askAll(ctx, l, podEnds(l), cloud)
}

// askAll makes every client ask every server, and checks that each was seen
// with its own address.
func askAll(ctx context.Context, l *lab.Lab, clients, servers []end) (Result, error) {
	var r Result
	var echos []*Echo
	defer func() {
		for _, e := range echos {
			e.Close()
		}
	}()
	for _, s := range servers {
		e, err := ServeEcho(ctx, s.host, netip.AddrPortFrom(s.ip, echoPort))
		if err != nil {
			return r, err
		}
		echos = append(echos, e)
	}
	var err error
	r.Questions, r.Meter, err = Metered(l, func() (asked int, err error) {
		for i, s := range servers {
			for _, c := range clients {
				for _, network := range []string{"tcp4", "udp4"} {
					seen, err := Ask(ctx, c.host, network, echos[i].Addr)
					if err != nil {
						return asked, fmt.Errorf("%s (%s) to %s over %s: %w", c.name, c.ip, s.name, network, err)
					}
					if seen != c.ip {
						return asked, fmt.Errorf("%s saw %s come from %s, not from %s: the packet was not tunnelled as it is", s.name, c.name, seen, c.ip)
					}
					asked++
				}
			}
		}
		return asked, nil
	})
	for _, c := range clients {
		r.Seen = append(r.Seen, c.ip.String())
	}
	return r, err
}

// APIServerToWebhook has the API server ask an admission webhook in a pod on the
// last node about two objects; it denies one and admits the other.
func APIServerToWebhook(ctx context.Context, l *lab.Lab) (r Result, err error) {
	const name, bad, good = "on-premises-policy", "bad", "good"
	pod, err := lastPod(l)
	if err != nil {
		return r, err
	}
	hook, err := ServeWebhook(ctx, pod.Host, netip.AddrPortFrom(pod.IP, webhookPort), l.CA, bad)
	if err != nil {
		return r, err
	}
	defer hook.Close()
	defer func() {
		// The objects must not outlive the webhook, whatever became of ctx.
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, l.Cluster.DeleteWebhook(ctx, name), l.Cluster.DeleteConfigMap(ctx, bad), l.Cluster.DeleteConfigMap(ctx, good))
	}()
	r.Questions, r.Meter, err = Metered(l, func() (asked int, err error) {
		url := "https://" + hook.Addr.String() + WebhookPath
		if err := l.Cluster.CreateWebhook(ctx, name, url, l.CA.PEM); err != nil {
			return 0, err
		}
		if err := waitDenied(ctx, l, bad); err != nil {
			return 0, err
		}
		err = l.Cluster.CreateConfigMap(ctx, good)
		return len(hook.Calls()), err
	})
	if err != nil {
		return r, err
	}
	cp, err := l.World.Machine("cp")
	if err != nil {
		return r, err
	}
	calls := hook.Calls()
	r.Seen = []string{cp.IP.String()}
	for _, c := range calls {
		if c.From != cp.IP {
			return r, fmt.Errorf("the webhook was asked from %s, not from the API server's %s", c.From, cp.IP)
		}
	}
	if !slices.ContainsFunc(calls, func(c Call) bool { return c.Object == good && c.Allowed }) {
		return r, fmt.Errorf("the webhook was not asked about %q", good)
	}
	return r, nil
}

// waitDenied creates an object until the API server denies it: it takes a
// moment before a new webhook is in force.
func waitDenied(ctx context.Context, l *lab.Lab, name string) error {
	ctx, cancel := context.WithTimeout(ctx, effectTimeout)
	defer cancel()
	return lab.Poll(ctx, "the webhook to deny an object", func(ctx context.Context) error {
		err := l.Cluster.CreateConfigMap(ctx, name)
		if err != nil && strings.Contains(err.Error(), DenyReason) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(errors.New("it was admitted"), l.Cluster.DeleteConfigMap(ctx, name))
	})
}

func lastPod(l *lab.Lab) (*onprem.Pod, error) {
	nodes := l.World.Nodes()
	if len(nodes) == 0 || len(nodes[len(nodes)-1].Pods()) == 0 {
		return nil, errors.New("no on-premises pod in the world")
	}
	return nodes[len(nodes)-1].Pods()[0], nil
}

// BalancerToPods has an EC2 pod ask a load balancer, which has every on-premises
// pod for a target, until each has answered.
func BalancerToPods(ctx context.Context, l *lab.Lab) (Result, error) {
	var r Result
	m, err := l.World.Machine("lb")
	if err != nil {
		return r, err
	}
	h, err := l.Host(m.Name)
	if err != nil {
		return r, err
	}
	cloud, err := cloudEnds(l)
	if err != nil {
		return r, err
	}
	var targets []netip.AddrPort
	for _, p := range podEnds(l) {
		e, err := ServeEcho(ctx, p.host, netip.AddrPortFrom(p.ip, echoPort))
		if err != nil {
			return r, err
		}
		defer e.Close()
		targets = append(targets, e.Addr)
	}
	lb, err := ServeBalancer(ctx, h, netip.AddrPortFrom(m.IP, balancerPort), targets)
	if err != nil {
		return r, err
	}
	defer lb.Close()
	r.Questions, r.Meter, err = Metered(l, func() (asked int, err error) {
		for range targets {
			seen, err := Ask(ctx, cloud[0].host, "tcp4", lb.Addr)
			if err != nil {
				return asked, fmt.Errorf("%s through the load balancer: %w", cloud[0].name, err)
			}
			if seen != m.IP {
				return asked, fmt.Errorf("a target saw %s, not the load balancer's %s", seen, m.IP)
			}
			asked++
		}
		return asked, nil
	})
	r.Seen = []string{m.IP.String()}
	return r, err
}

// All runs the four flows, and checks each.
func All(ctx context.Context, l *lab.Lab) error {
	for _, f := range []struct {
		name string
		run  func(context.Context, *lab.Lab) (Result, error)
	}{
		{"EC2 pods to on-premises pods", CloudToPods},
		{"on-premises pods to EC2 pods", PodsToCloud},
		{"API server to webhook", APIServerToWebhook},
		{"load balancer to on-premises pods", BalancerToPods},
	} {
		if _, err := f.run(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}
