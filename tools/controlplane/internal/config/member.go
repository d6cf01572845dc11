package config

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Member says what member of etcd to run. ParseMember returns only complete ones.
type Member struct {
	// Dir holds everything that outlives the process; absolute.
	Dir string
	// Name is this member's, one of Peers.
	Name string
	// Listen is where clients are served with TLS.
	Listen netip.AddrPort
	// Peers are all members of the cluster, this one among them, in the order given.
	Peers []Peer
	// CA, Cert and Key are PEM files, absolute. This member's certificate is good for both
	// ends of a connection; clients and peers need one that CA has signed.
	CA, Cert, Key string
	// HeartbeatInterval and ElectionTimeout are Raft's.
	HeartbeatInterval, ElectionTimeout time.Duration
	// DieWithParent ends the process when the one that started it is gone.
	DieWithParent bool
}

// Peer is a member as the other members reach it.
type Peer struct {
	Name    string
	Address netip.AddrPort
}

type memberFlags struct {
	Dir               string        `help:"Directory for data and log; made if missing." required:"" placeholder:"DIR"`
	Name              string        `help:"This member's name, one of --member." required:"" placeholder:"NAME"`
	Listen            string        `help:"IP address and port to serve clients on." required:"" placeholder:"IP:PORT"`
	Member            []string      `help:"A member of the cluster, with the address for the other members; once for each, this one included." required:"" placeholder:"NAME=IP:PORT" sep:"none"`
	CACert            string        `name:"cacert" help:"PEM file with the authority that signs every client's and member's certificate." required:"" placeholder:"FILE"`
	Cert              string        `help:"PEM file with this member's certificate." required:"" placeholder:"FILE"`
	Key               string        `help:"PEM file with this member's key." required:"" placeholder:"FILE"`
	HeartbeatInterval time.Duration `help:"Time between the heartbeats of the cluster's leader." default:"100ms" placeholder:"DURATION"`
	ElectionTimeout   time.Duration `help:"After what silence of the leader the other members elect another; up to twice that." default:"1s" placeholder:"DURATION"`
	DieWithParent     bool          `help:"Stop when the process that started this one is gone."`
}

// ParseMember reads the arguments behind "etcd", as Parse does for the whole control plane.
func ParseMember(args []string, out io.Writer) (Member, error) {
	var f memberFlags
	err := parse(&f, args, out,
		kong.Name("controlplane etcd"),
		kong.Description("One member of an etcd cluster, for tests. It serves with mutual TLS only."))
	if err != nil {
		return Member{}, err
	}
	return f.member()
}

func (f memberFlags) member() (Member, error) {
	m := Member{
		Name: f.Name, HeartbeatInterval: f.HeartbeatInterval, ElectionTimeout: f.ElectionTimeout, DieWithParent: f.DieWithParent,
	}
	var err error
	for _, p := range []struct {
		flag, value string
		to          *string
	}{
		{"--dir", f.Dir, &m.Dir}, {"--cacert", f.CACert, &m.CA}, {"--cert", f.Cert, &m.Cert}, {"--key", f.Key, &m.Key},
	} {
		if *p.to, err = absolute(p.flag, p.value); err != nil {
			return Member{}, err
		}
	}
	if m.Listen, err = netip.ParseAddrPort(f.Listen); err != nil {
		return Member{}, invalid("--listen", f.Listen, "an IP address and a port, such as 10.0.1.5:2379")
	}
	for _, s := range f.Member {
		name, address, _ := strings.Cut(s, "=")
		a, err := netip.ParseAddrPort(address)
		if err != nil || name == "" {
			return Member{}, invalid("--member", s, "NAME=IP:PORT, such as one=10.0.1.5:2380")
		}
		m.Peers = append(m.Peers, Peer{name, a})
	}
	if !slices.ContainsFunc(m.Peers, func(p Peer) bool { return p.Name == m.Name }) {
		return Member{}, invalid("--name", m.Name, "the name of a --member")
	}
	if m.HeartbeatInterval < time.Millisecond {
		return Member{}, invalid("--heartbeat-interval", m.HeartbeatInterval.String(), "at least 1ms")
	}
	if m.ElectionTimeout < 5*m.HeartbeatInterval {
		return Member{}, invalid("--election-timeout", m.ElectionTimeout.String(), fmt.Sprintf("at least 5 times --heartbeat-interval=%v", m.HeartbeatInterval))
	}
	return m, nil
}
