package lab

import (
	"context"
	"errors"

	"github.com/hybridgateway/gateway/tools/lab/internal/agent"
	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// startAgent runs a node's Cilium agent until the node is removed. In the floating mode it
// is done when it has read its settings.
func (l *Lab) startAgent(ctx context.Context, n *onprem.Node) error {
	client, closeClient, err := agent.Client(l.Cluster.REST(), n.Host)
	if err != nil {
		return err
	}
	c := agent.Config{Name: n.Name, Client: client, Map: n, Log: l.Options.Log}
	if l.Options.VTEPMode == Floating {
		defer closeClient()
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		if err := agent.Configure(ctx, c); err != nil {
			return err
		}
		return l.Cluster.CreateAgentPod(ctx, n.Name)
	}
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	l.running.Go(func() {
		defer close(done)
		defer closeClient()
		agent.Run(ctx, c)
	})
	l.agentsMu.Lock()
	defer l.agentsMu.Unlock()
	l.agents[n.Name] = func() { cancel(); <-done }
	return nil
}

// AddNode sets a new machine up on-premises, with pods and a Cilium agent. It
// is not a member of the cluster until RegisterNode.
func (l *Lab) AddNode(ctx context.Context, s onprem.Spec) (*onprem.Node, error) {
	n, err := l.World.AddNode(s)
	if err != nil {
		return nil, err
	}
	if err := l.startAgent(ctx, n); err != nil {
		return nil, errors.Join(err, l.World.RemoveNode(s.Name))
	}
	return n, nil
}

// RegisterNode makes a node a member of the cluster: its CiliumNode is created.
func (l *Lab) RegisterNode(ctx context.Context, n *onprem.Node) error {
	return l.Cluster.CreateNode(ctx, cluster.CiliumNode(n.Name, n.IP, n.PodCIDRs))
}

// RemoveNode takes a node out of the cluster and switches it off for good.
func (l *Lab) RemoveNode(ctx context.Context, name string) error {
	err := l.Cluster.DeleteNode(ctx, name)
	l.agentsMu.Lock()
	stop := l.agents[name]
	delete(l.agents, name)
	l.agentsMu.Unlock()
	if stop != nil {
		stop()
	}
	if l.Options.VTEPMode == Floating {
		err = errors.Join(err, l.Cluster.DeleteAgentPod(ctx, name))
	}
	return errors.Join(err, l.World.RemoveNode(name))
}
