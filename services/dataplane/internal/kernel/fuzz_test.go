package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// seeds are messages of the kinds that the kernel sends. In a notification the type stands in
// the header; the bodies are laid out as in requests.
func seeds() [][]byte {
	var list [][]byte
	for _, m := range []*message{
		addVXLAN(device, 1450),
		setConf(link{index: 3, hasIPv6: true}, plan.Conf{Forwarding: 1, AddrGenNone: true}),
		addAddress(local),
		setFDB(3, plan.SetFDB{MAC: device.MAC, Remote: local}),
		setNeighbour(3, plan.SetNeighbour{Addr: local, MAC: device.MAC}),
		routeMessage(unix.RTM_NEWROUTE, 0, 3, plan.Route{Dst: netip.MustParsePrefix("100.64.1.0/24"), Via: local, Src: local, Protocol: plan.RouteProtocol, Onlink: true}),
		routeMessage(unix.RTM_NEWROUTE, 0, 3, plan.Route{Dst: netip.MustParsePrefix("100.64.1.0/24"), Via: local, Protocol: plan.RouteProtocol, Onlink: true,
			Encap: plan.Encap{Remote: local, Local: local, VNI: 2, DF: true}}),
		newMessage(unix.RTM_NEWNETCONF, 0).raw(unix.AF_INET).attr32(netconfaIfindex, netconfaAll).attr32(netconfaForwarding, 1),
		newMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM, 0).raw(unix.NFPROTO_IPV4, 0, 0, 0).attr(1, []byte(guardTable+"\x00")...).
			attr(unix.NFTA_SET_ELEM_LIST_SET, []byte(setOuters+"\x00")...),
	} {
		list = append(list, m.finish(1))
	}
	return append(list, slicesOf(list), nil)
}

// slicesOf is all messages in one datagram.
func slicesOf(messages [][]byte) []byte {
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	return all
}

// Whatever a datagram of the kernel holds, it is read to its end, and what cannot be read is
// told as lost: then everything is read anew.
func FuzzNotifications(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for _, guard := range []bool{false, true} {
			w := &Watcher{names: map[int32]string{3: device.Name}, guard: guard}
			for _, c := range w.parse(datagram) {
				// Must not be beyond the known kinds, for which there are words.
				if c.Kind.String() == "" {
					t.Errorf("a change without a kind: %+v", c)
				}
			}
		}
	})
}

// The parsers of answers, of any type, with any body.
func FuzzAnswers(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		n := 0
		err := messages(datagram, func(_, _ uint16, _ uint32, body []byte) (bool, error) {
			n++
			_ = ackError(body)
			_ = doneError(body)
			if l, err := parseLink(body); err == nil && len(body) >= unix.SizeofIfInfomsg && l.index != int32(binary.NativeEndian.Uint32(body[4:])) {
				t.Errorf("the index is %d", l.index)
			}
			_, _ = parseRoute(body)
			_, _ = parseEntry(body)
			_, _ = parseAddress(body)
			return false, nil
		})
		if n > len(datagram)/unix.SizeofNlMsghdr {
			t.Errorf("%d messages in %d bytes, %v", n, len(datagram), err)
		}
	})
}
