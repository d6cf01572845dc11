package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// PeerFlags are about the other gateways.
type PeerFlags struct {
	PeerKeyFile    string         `help:"File with the key that authenticates heartbeats between gateways, 32 bytes or more in base64, the same on all of them; a second line is accepted, too. When not given: gateways do not watch each other, and a dead one is noticed when its record expires." placeholder:"FILE"`
	PeerListen     netaddr.Listen `help:"Address and UDP port of heartbeats." default:":9820" placeholder:"ADDR:PORT"`
	Peers          []Peer         `help:"Addresses of the other gateways. This one's own may be among them. The port is that of --peer-listen when not given." sep:"," placeholder:"ADDR[:PORT]"`
	PeerName       string         `help:"DNS name whose addresses are the gateways', such as that of a headless Service." placeholder:"NAME"`
	PeerPeriod     time.Duration  `help:"Time between heartbeats." default:"18ms" placeholder:"DURATION"`
	PeerMultiplier uint8          `help:"How many heartbeats may be missing before a gateway is suspected to be dead." default:"15" placeholder:"N"`
}

const (
	leastPeerPeriod     = 5 * time.Millisecond
	leastPeerMultiplier = 3
)

func (p *PeerFlags) validate(gatewayID string, leaseDuration time.Duration) error {
	switch {
	case p.PeerKeyFile == "" && (len(p.Peers) > 0 || p.PeerName != ""):
		return fmt.Errorf("--peer-key-file=%q: want the file with the key of heartbeats, since --peers or --peer-name is given", p.PeerKeyFile)
	case p.PeerKeyFile == "":
		return nil
	case len(gatewayID) > wire.MaxID:
		return fmt.Errorf("--gateway-id=%q: want at most %d characters together with --peer-key-file", gatewayID, wire.MaxID)
	case p.PeerListenAddr().Port() == 0:
		return fmt.Errorf("--peer-listen=%s: want a port other than 0", p.PeerListen)
	case p.PeerPeriod < leastPeerPeriod || p.PeerPeriod%time.Microsecond != 0:
		return fmt.Errorf("--peer-period=%v: want at least %v, in whole microseconds", p.PeerPeriod, leastPeerPeriod)
	case p.PeerMultiplier < leastPeerMultiplier:
		return fmt.Errorf("--peer-multiplier=%d: want at least %d", p.PeerMultiplier, leastPeerMultiplier)
	case time.Duration(p.PeerMultiplier)*p.PeerPeriod >= leaseDuration:
		return fmt.Errorf("--peer-multiplier=%d: want less than --lease-duration=%v when multiplied with --peer-period=%v", p.PeerMultiplier, leaseDuration, p.PeerPeriod)
	}
	return nil
}

// PeerListenAddr is where heartbeats are sent from and received.
func (p *PeerFlags) PeerListenAddr() netip.AddrPort {
	addr, port := p.PeerListen.Addr, p.PeerListen.Port
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(addr, port)
}

// PeerAddrs are the configured addresses, with ports.
func (p *PeerFlags) PeerAddrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(p.Peers))
	for i, peer := range p.Peers {
		addrs[i] = netip.AddrPort(peer)
		if addrs[i].Port() == 0 {
			addrs[i] = netip.AddrPortFrom(addrs[i].Addr(), p.PeerListenAddr().Port())
		}
	}
	return addrs
}

// Peer is the address of a gateway; its port is zero when it was not given.
type Peer netip.AddrPort

// UnmarshalText reads ADDR or ADDR:PORT.
func (p *Peer) UnmarshalText(text []byte) error {
	host, port, given := strings.Cut(string(text), ":")
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
		return fmt.Errorf("%q: want the IPv4 address of a host, with or without a port", text)
	}
	n := uint64(0)
	if given {
		if n, err = strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q: want a port of 1 to 65535", text)
		}
	}
	*p = Peer(netip.AddrPortFrom(addr, uint16(n)))
	return nil
}
