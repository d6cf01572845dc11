package lab

import (
	"context"
	"errors"

	"github.com/hybridgateway/gateway/tools/lab/internal/agent"
	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// startAgent runs a node's Cilium agent until the node is removed.
func (l *Lab) startAgent(n *onprem.Node) error {
	client, closeClient, err := agent.Client(l.Cluster.REST(), n.Host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	l.running.Go(func() {
		defer close(done)
		defer closeClient()
		agent.Run(ctx, agent.Config{Name: n.Name, Client: client, Map: n, Log: l.Options.Log})
	})
	l.agentsMu.Lock()
	defer l.agentsMu.Unlock()
	l.agents[n.Name] = func() { cancel(); <-done }
	return nil
}

// AddNode sets a new machine up on-premises, with pods and a Cilium agent. It
// is not a member of the cluster until RegisterNode.
func (l *Lab) AddNode(s onprem.Spec) (*onprem.Node, error) {
	n, err := l.World.AddNode(s)
	if err != nil {
		return nil, err
	}
	if err := l.startAgent(n); err != nil {
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
	return errors.Join(err, l.World.RemoveNode(name))
}
