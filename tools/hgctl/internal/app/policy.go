package app

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/hybridgateway/gateway/libs/ec2policy"
)

type policyFlags struct {
	Ask     readFlags    `cmd:"" default:"withargs" help:"Ask a gateway, for its own configuration."`
	Offline offlineFlags `cmd:"" help:"Print it for the given configuration, without a gateway. The flags are those of route-sync."`
}

// offlineFlags are those of route-sync that its permissions depend on.
type offlineFlags struct {
	Region                string         `help:"AWS region of the route tables." required:"" env:"-" placeholder:"NAME"`
	Account               string         `help:"AWS account that owns the route tables." required:"" env:"-" placeholder:"ID"`
	RouteTables           []table        `help:"Route tables, as for route-sync." required:"" env:"-" placeholder:"[SHARD=]rtb-ID"`
	FloatingTables        []table        `name:"floating-vtep-route-tables" help:"Route tables of the floating VTEP, as for route-sync." env:"-" placeholder:"[SHARD=]rtb-ID"`
	ManagePrefixList      bool           `help:"As for route-sync." env:"-"`
	ManageSourceDestCheck bool           `help:"As for route-sync." env:"-"`
	GatewayENIs           []netInterface `name:"gateway-enis" help:"Network interfaces of all gateways, which --manage-source-dest-check is limited to. Default: those tagged eks-hybrid-nodes-gateway=true." env:"-" placeholder:"eni-ID"`
}

// Validate is called by kong when the flags have their values.
func (f *offlineFlags) Validate() error {
	switch {
	case !regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`).MatchString(f.Region):
		return fmt.Errorf("--region=%q: want the name of a region such as eu-west-1", f.Region)
	case !regexp.MustCompile(`^[0-9]{12}$`).MatchString(f.Account):
		return fmt.Errorf("--account=%q: want the 12 digits of an account such as 111122223333", f.Account)
	}
	return nil
}

// write prints the policy for the flags.
func (f *offlineFlags) write(out io.Writer) error {
	c := ec2policy.Config{
		Region: f.Region, Account: f.Account, ManageLists: f.ManagePrefixList, ManageCheck: f.ManageSourceDestCheck,
		Tables: once(append(f.RouteTables, f.FloatingTables...)), Interfaces: once(f.GatewayENIs),
	}
	_, err := io.WriteString(out, c.Document())
	return err
}

// once are ids in order, each once.
func once[T ~string](ids []T) []string {
	var list []string
	seen := map[T]bool{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			list = append(list, string(id))
		}
	}
	return list
}

// table is the id of a route table. The shard before it is of no matter here.
type table string

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *table) UnmarshalText(text []byte) error {
	id := string(text)
	if _, after, sharded := strings.Cut(id, "="); sharded {
		id = after
	}
	*t = table(id)
	return checkID("rtb-", id)
}

// netInterface is the id of a gateway's network interface.
type netInterface string

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *netInterface) UnmarshalText(text []byte) error {
	*e = netInterface(text)
	return checkID("eni-", string(text))
}

func checkID(prefix, id string) error {
	if !regexp.MustCompile("^" + prefix + "[a-z0-9-]{1,40}$").MatchString(id) {
		return fmt.Errorf("%q: want an id such as %s0123456789abcdef0", id, prefix)
	}
	return nil
}
