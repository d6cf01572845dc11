package kernel

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// clampTable is the nftables table of family ip that bounds the maximum segment size; ours alone, as the guard's.
const clampTable = "hybrid_gateway_mss"

// Where things are in a TCP header (RFC 9293, section 3.1), and the option that is bounded (section 3.7.1).
const (
	atTCPFlags    = 13
	flagSYN       = 0x02
	flagRST       = 0x04
	optionMaxSeg  = 2
	atMaxSegValue = 2
)

func clamps() *nftables.Table {
	return &nftables.Table{Name: clampTable, Family: nftables.TableFamilyIPv4}
}

// clampChains is the chain that bounds what both ends of a connection through the tunnel announce in their SYN. The bound is worked
// out from the smaller MTU of the way there and the way back, path MTUs that the kernel has learned included; the kernel never raises
// what was announced.
func (g *guard) clampChains(t *nftables.Table) []chain {
	c := baseChain(t, "clamp", nftables.ChainHookForward)
	c.Priority = nftables.ChainPriorityMangle
	var rules [][]expr.Any
	for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, g.device)
		rules = append(rules, join(
			[]expr.Any{&expr.Meta{Key: key, Register: first}, equal(name)},
			[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: first}, equal([]byte{unix.IPPROTO_TCP})},
			transport(first, atTCPFlags, 1),
			[]expr.Any{
				&expr.Bitwise{SourceRegister: first, DestRegister: first, Len: 1, Mask: []byte{flagSYN | flagRST}, Xor: []byte{0}},
				equal([]byte{flagSYN}),
				&expr.Rt{Register: first, Key: expr.RtTCPMSS},
				&expr.Byteorder{SourceRegister: first, DestRegister: first, Op: expr.ByteorderHton, Len: 2, Size: 2},
				&expr.Exthdr{SourceRegister: first, Type: optionMaxSeg, Offset: atMaxSegValue, Len: 2, Op: expr.ExthdrOpTcpopt},
			}))
	}
	return []chain{{c, rules}}
}

// setClamp makes the table anew in one transaction.
func (g *guard) setClamp() error {
	t := clamps()
	g.conn.AddTable(t)
	g.conn.DelTable(t)
	g.conn.AddTable(t)
	g.addChains(t, g.clampChains(t))
	return g.conn.Flush()
}

func (g *guard) deleteClamp() error {
	g.conn.AddTable(clamps())
	g.conn.DelTable(clamps())
	return g.conn.Flush()
}

func (g *guard) readClamp() (plan.Clamp, error) {
	there, err := g.exists(clampTable)
	if err != nil || !there {
		return plan.ClampAbsent, err
	}
	sets, err := g.conn.GetSets(clamps())
	if err != nil {
		return plan.ClampOdd, fmt.Errorf("list the sets of %s: %w", clampTable, err)
	}
	same, err := g.sameChains(clamps(), g.clampChains(clamps()))
	if !same || len(sets) > 0 {
		return plan.ClampOdd, err
	}
	return plan.ClampSound, err
}
