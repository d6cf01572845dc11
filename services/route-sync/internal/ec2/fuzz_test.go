package ec2

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// Whatever EC2 answers about a route: it has a target that can be shown, and nothing but an
// interface is taken for one.
func FuzzRoutes(f *testing.F) {
	f.Add("100.64.0.0/16", "", "", "eni-1", "", "active", "CreateRoute")
	f.Add("", "fd00:10::/56", "", "", "tgw-1", "blackhole", "EnableVgwRoutePropagation")
	f.Add("nowhere", "", "pl-1", "", "", "", "")
	f.Fuzz(func(t *testing.T, cidr, cidr6, list, eni, gateway, state, origin string) {
		route := types.Route{
			DestinationCidrBlock: aws.String(cidr), DestinationIpv6CidrBlock: aws.String(cidr6), DestinationPrefixListId: aws.String(list),
			NetworkInterfaceId: aws.String(eni), GatewayId: aws.String(gateway), State: types.RouteState(state), Origin: types.RouteOrigin(origin),
		}
		table := tableOf([]types.Route{route, {}, route})
		if len(table) > 1 {
			t.Errorf("one route became %v", table)
		}
		for d, r := range table {
			if r.Target == "" || (r.Kind == plan.Interface) != (eni != "") {
				t.Errorf("%v became %+v", d, r)
			}
		}
		l := listOf(types.ManagedPrefixList{
			PrefixListId: aws.String(list), PrefixListName: aws.String(cidr), AddressFamily: aws.String(cidr6),
			State: types.PrefixListState(state), StateMessage: aws.String(gateway),
		})
		if len(l.Failure) > len(state)+1000 {
			t.Errorf("a failure of %d bytes", len(l.Failure))
		}
	})
}
