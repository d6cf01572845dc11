package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
)

// DefaultShard is the one shard of a lab that is not Sharded, as the services name it.
const DefaultShard = "default"

// Shard is a part of the leadership.
type Shard struct {
	Name   string
	Zone   string   // of the gateway that shall lead it
	Tables []string // the route tables that belong to it
}

// Shards are those of a sharded lab, one for each zone that has a gateway; none else.
// Tables of other zones belong to the first.
func (l *Lab) Shards() []Shard {
	if !l.Options.Sharded {
		return nil
	}
	var shards []Shard
	owner := map[string]int{} // index of the shard by table
	for _, m := range l.World.Gateways() {
		if _, known := owner[m.RouteTable]; known {
			continue
		}
		owner[m.RouteTable] = len(shards)
		shards = append(shards, Shard{Name: "zone-" + m.Zone[len(m.Zone)-1:], Zone: m.Zone})
	}
	for _, t := range l.World.RouteTables() {
		i := owner[t]
		shards[i].Tables = append(shards[i].Tables, t)
	}
	return shards
}

// shardArgs are the services' flags about shards. The one CiliumVTEPConfig names the
// gateway that leads the first shard.
func (l *Lab) shardArgs() (election, registry []string) {
	var flag []string
	for _, s := range l.Shards() {
		flag = append(flag, s.Name+"="+s.Zone)
	}
	if len(flag) == 0 {
		return nil, nil
	}
	return []string{"--shards=" + strings.Join(flag, ",")}, []string{"--shard=" + l.Shards()[0].Name}
}

// tableArgs are the route tables as route-sync wants them, with their shards.
func (l *Lab) tableArgs() []string {
	if !l.Options.Sharded {
		return l.World.RouteTables()
	}
	var tables []string
	for _, s := range l.Shards() {
		for _, t := range s.Tables {
			tables = append(tables, s.Name+"="+t)
		}
	}
	return tables
}

// shardRights lets election write the Leases of the shards. The product's manifest is
// for that of one shard, and says that an operator adds the names.
const shardRights = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: hybrid-gateway-election-shards
  namespace: kube-system
rules:
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [%s]
    verbs: [get, list, watch, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: hybrid-gateway-election-shards
  namespace: kube-system
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: hybrid-gateway-election-shards
subjects:
  - kind: ServiceAccount
    name: ` + cluster.ElectionAccount + `
    namespace: kube-system
`

// manifests are what is applied when the control plane starts.
func (l *Lab) manifests() ([]string, error) {
	all := []string{l.Options.Manifests}
	if !l.Options.Sharded {
		return all, nil
	}
	var leases []string
	for _, s := range l.Shards() {
		leases = append(leases, "eks-hybrid-gateway-"+s.Name)
	}
	path := filepath.Join(l.Options.Dir, "shards.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, shardRights, strings.Join(leases, ", ")), 0o644); err != nil {
		return nil, fmt.Errorf("write the rights for the shards' records: %w", err)
	}
	return append(all, path), nil
}

// Preferred is who leads which shard when all gateways are well.
func (l *Lab) Preferred() map[string]*gateway.Gateway {
	leaders := map[string]*gateway.Gateway{}
	for _, s := range l.Shards() {
		for i, m := range l.World.Gateways() {
			if m.Zone == s.Zone && leaders[s.Name] == nil {
				leaders[s.Name] = l.Gateways[i]
			}
		}
	}
	return leaders
}

// WaitShards waits until the given gateways lead the shards, all that lead one agree, and
// everything outside says so too: EC2's route tables and the nodes' VTEP maps.
func (l *Lab) WaitShards(ctx context.Context, leaders map[string]*gateway.Gateway) error {
	return Poll(ctx, "the wanted leaders of all shards", func(ctx context.Context) error { return l.checkShards(ctx, leaders) })
}

func (l *Lab) checkShards(ctx context.Context, leaders map[string]*gateway.Gateway) error {
	for _, asked := range leaders {
		s, err := l.Operator.Status(ctx, asked)
		if err != nil {
			return err
		}
		if err := l.checkGateway(asked, s); err != nil {
			return fmt.Errorf("gateway %s: %w", asked.Name, err)
		}
		for shard, leader := range leaders {
			role := gateway.RoleInShard(s, shard)
			if role.Holder != leader.Name || !role.Converged || role.Active != (asked == leader) {
				return fmt.Errorf("gateway %s takes %+v for the state of %s, which %s shall lead", asked.Name, role, shard, leader.Name)
			}
		}
	}
	for i, shard := range l.Shards() {
		if err := l.checkRoutes(leaders[shard.Name], shard.Tables); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		if err := l.checkNodes(leaders[shard.Name]); err != nil {
			return err
		}
	}
	return nil
}
