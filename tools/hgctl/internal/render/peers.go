package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
)

// peersOf are the other gateways. All shards tell the same of them, but for the converged epochs.
func peersOf(s *adminv1.Status) []*adminv1.PeerStatus {
	for _, shard := range s.GetShards() {
		return shard.GetPeers()
	}
	return nil
}

func peers(b *strings.Builder, s *adminv1.Status) {
	list := peersOf(s)
	section(b, "PEER\tNODE IP\tENI\tZONE\tSTATE\tSINCE\tSTANDS\tCONVERGED", len(list), "no other gateway is watched", func(i int) string {
		p := list[i].GetPeer()
		g := p.GetGateway()
		since, stands := "", "no"
		if list[i].GetSince() != nil {
			since = list[i].GetSince().AsTime().Format(time.TimeOnly)
		}
		if p.GetStanding() {
			stands = "yes"
		}
		return row(g.GetId(), g.GetNodeIp(), g.GetEniId(), g.GetZone(), enum(p.GetCondition().String(), "PEER_CONDITION_"), since, stands, convergedEpochs(s, g))
	})
}

// convergedEpochs are the last epochs under which a gateway found its routes in place, with their shards when there are several.
func convergedEpochs(s *adminv1.Status, g *leadershipv1.Gateway) string {
	var epochs []string
	for _, shard := range s.GetShards() {
		i := slices.IndexFunc(shard.GetPeers(), func(p *adminv1.PeerStatus) bool { return p.GetPeer().GetGateway().GetId() == g.GetId() })
		if i < 0 || shard.GetPeers()[i].GetPeer().GetConvergedEpoch() == 0 {
			continue
		}
		epoch := number(shard.GetPeers()[i].GetPeer().GetConvergedEpoch())
		if len(s.GetShards()) > 1 {
			epoch = shard.GetLeadership().GetShard() + ":" + epoch
		}
		epochs = append(epochs, epoch)
	}
	return strings.Join(epochs, ",")
}

func peerProblems(s *adminv1.Status) []string {
	var lines []string
	for _, status := range peersOf(s) {
		g := status.GetPeer().GetGateway()
		switch status.GetPeer().GetCondition() {
		case leadershipv1.PeerCondition_PEER_CONDITION_SILENT:
			lines = append(lines, fmt.Sprintf("gateway %s is silent since %s: it is dead, or cut off from this one", g.GetId(), status.GetSince().AsTime().Format(time.TimeOnly)))
		case leadershipv1.PeerCondition_PEER_CONDITION_ONE_WAY:
			lines = append(lines, fmt.Sprintf("gateway %s does not hear this one: heartbeats are lost on the way there", g.GetId()))
		case leadershipv1.PeerCondition_PEER_CONDITION_NEVER_HEARD:
			lines = append(lines, fmt.Sprintf("no gateway was ever heard at %s: check that one runs there, with the same heartbeat key, and that UDP 9820 is let through", g.GetNodeIp()))
		}
	}
	return lines
}
